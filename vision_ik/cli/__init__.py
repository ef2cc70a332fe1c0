"""The program ``vision-ik``: one verb per file, the only room that prints.

A verb is a module ``vision_ik/cli/NAME.py`` with

* ``Options``: a frozen, keyword-only dataclass; its docstring (with examples) and those of
  its fields are the help; or, where the verb has sub-commands of its own,
  ``COMMANDS: dict[str, type]``, such a dataclass for each;
* ``run(options) -> int``: do it and return the exit code. Heavy libraries are imported
  inside ``run``, so that help stays fast.

People read stderr (``vision_ik.cli.console``), programs read stdout.
"""
