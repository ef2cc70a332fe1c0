"""``vision-ik tags print``: what is told in, a PDF at true size out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_OK
from vision_ik.cli.tag_layouts import told_layout
from vision_ik.errors import ConfigError

if TYPE_CHECKING:
    from vision_ik.cli.tags import PrintOptions
    from vision_ik.rig import Rig


def print_layout(options: PrintOptions) -> int:
    """Write what the options tell, and say where it is.

    Raises:
        ConfigError: Nothing is told, or both tags and a board.
        TagError: It cannot be drawn, or does not fit the page.
        RecordingError: The file could not be written.
    """
    from vision_ik.rig import load_rig

    rig = None if options.rig is None else load_rig(options.rig)
    file = _tags(options, rig) if options.ids else _board_or_bundle(options, rig)
    console.say(f"Written to {file}: print it at 100 %, without fitting it to the page, and measure the ruler.")
    return EXIT_OK


def _tags(options: PrintOptions, rig: Rig | None) -> Path:
    from vision_ik.tags import save_tags_pdf

    if options.bundle or options.board or options.columns is not None or options.rows is not None:
        raise ConfigError("Single tags and a layout of several are both told.", "Give --ids, or a board, or a bundle.")
    family = options.family or (rig.tag_family if rig is not None else "36h11")
    if options.size_mm is not None:
        sizes = {options.size_mm / 1000.0}
    elif rig is not None:
        sizes = {rig.tag_size(tag_id) for tag_id in options.ids}
    else:
        raise ConfigError("No size of the tags is known.", "Give --size-mm, the edge of the black border.")
    if len(sizes) > 1:
        listed = ", ".join(f"{1000.0 * size:g}" for size in sorted(sizes))
        raise ConfigError(f"These tags measure {listed} mm in the rig.", "Print those of each size by themselves.")
    (size,) = sizes
    if not 0 < size < np.inf:
        raise ConfigError(f"--size-mm must be positive, not {1000.0 * size:g}.", "40 suits a hand-held tag.")
    return save_tags_pdf(family, options.ids, size, options.out, page=options.page)


def _board_or_bundle(options: PrintOptions, rig: Rig | None) -> Path:
    from vision_ik.tags import save_board_pdf, save_bundle_pdf
    from vision_ik.types import TagBundle

    layout = told_layout(options, rig)
    if layout is None:
        raise ConfigError(
            "Nothing to print is told.",
            "Give --ids and --size-mm, --columns and --rows, --bundle, or a --rig that has a board.",
        )
    if isinstance(layout, TagBundle):
        return save_bundle_pdf(layout, options.out, page=options.page)
    return save_board_pdf(layout, options.out, page=options.page)
