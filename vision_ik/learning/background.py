"""Work done ahead on other cores while torch trains on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")


class Ahead(Generic[_T]):
    """Runs one piece of work ahead: ``start`` it, do something else, then ``take`` its result.

    With a single thread the work runs in ``start``: the results, and their order, are the same.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(1) if threads > 1 else None
        self._pending: Future[_T] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self, work: Callable[[], _T]) -> None:
        """Begin ``work``, which must not depend on anything that changes until it is taken."""
        if self._pool is not None:
            self._pending = self._pool.submit(work)
        else:
            self._pending = Future()
            self._pending.set_result(work())

    def take(self) -> _T:
        """Return the result of what was started, waiting for it if need be.

        Raises:
            RuntimeError: Nothing was started.
        """
        if self._pending is None:
            raise RuntimeError("Nothing was started.")
        result, self._pending = self._pending.result(), None
        return result
