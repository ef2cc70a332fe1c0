"""Batches of targets on a CUDA device: learned seeds and refinement, one thread a posture.

The search is that of `vision_ik.ik.single`, in rounds over whole batches:

1. every target is refined from one seed: the start where its pose is near, else the head of the network that is
   nearest to the start among the plausible ones, or the likeliest one where there is no start;
2. what is left, well under a percent of reachable targets, from the other heads and the start, all at once, and so is
   what a near start reached only by a leap;
3. what is left then, from random postures, all at once.

In each round the posture nearest to the start wins of those that converged; where none did, the closest pose is kept.

Needs ``warp-lang`` (``pip install "vision-ik[cuda]"``), which is imported when the first `CudaBatch` is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision_ik.errors import MissingDependencyError
from vision_ik.ik.chain import Chain
from vision_ik.ik.reasons import classify_many
from vision_ik.ik.search import Settings, random_posture
from vision_ik.ik.seeds import FEATURES, Net
from vision_ik.ik.task import Goal, Rotation
from vision_ik.types import Floats

CHUNK = 1 << 19
"""Targets on the device at a time: about 300 MB for seven joints."""
FIRST_STEPS = 12
"""Steps in the first round: a warp waits for its slowest thread, so hopeless seeds are dropped early."""
OPEN = -1
"""Status of a target that is not solved yet."""
BLOCK = 128
"""Threads in a block: small, since refinement fills the registers."""
_SEED_ZERO, _NO_SLOT = -1, 1 << 30
"""Which slot holds the start: the first where it goes first, none."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DeviceSolutions:
    """Solutions of N targets, as Warp arrays on the device; ``torch.from_dlpack`` and others take them as they are."""

    q: Any
    """(N,) vectors of n float64 [rad], [m]; NaN where the target was invalid."""
    status: Any
    """(N,) int64, values of IkStatus."""
    errors: Any
    """(N,) pairs of float64: position [m] and rotation [rad]."""
    steps: Any
    """(N,) int64, steps over all seeds tried."""


class CudaBatch:
    """Solves batches of targets for one arm with one tool, on one device.

    Immutable, deterministic, and safe to share among threads. Postures differ from those of the solver on the CPU
    in the last digits, and seldom by the branch: float32 may rank two seeds differently.

    Args:
        chain: The arm and its tool.
        net: Its learned seeds, or `NO_NET`.
        settings: How hard to try.
        device: ``"cuda"``, ``"cuda:0"``, ..., or ``"cpu"``: the same code compiled for one core, for tests.
        chunk: Targets on the device at a time; bounds its memory.

    Raises:
        MissingDependencyError: Warp is not installed, or finds no such device.
        ValueError: ``chunk`` is not positive.
    """

    def __init__(self, chain: Chain, net: Net, settings: Settings, device: str = "cuda", *, chunk: int = CHUNK) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}.")
        self._wp = wp = _warp()
        self._device = _device(wp, device)
        from vision_ik.ik import cuda_kernels, cuda_network, cuda_refine, cuda_seeds

        self.n = len(chain.lower)
        self._chain, self._settings, self._chunk = chain, settings, chunk
        self._types = cuda_refine.types_of(self.n)
        self._kernels = cuda_kernels.kernels_of(self.n)
        self._arm = _arm(self._types, chain)
        # Errors are compared in float32, which must not round a tolerance up.
        self._tolerances = tuple(
            float(np.nextafter(np.float32(t), np.float32(0.0))) for t in (settings.tolerance_m, settings.tolerance_rad)
        )
        self._heads = min(settings.heads, net.rank.shape[1])
        if self._heads:
            shape, weights = cuda_network.lay_out(net, self.n)
            self._propose, self._width = cuda_seeds.propose_kernel(shape), shape.width
            self._weights = self._upload(weights, wp.vec4)
        if settings.restarts:
            self._restarts = self._upload(_random_postures(chain, settings)[None], self._types.joints)

    def solve(
        self, Ts_base_tool: ArrayLike, q_start: ArrayLike | None = None, *, home: ArrayLike | None = None
    ) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]:
        """Solve (N, 4, 4) targets; invalid ones get NaN and ``IkStatus.INVALID``.

        Args:
            Ts_base_tool: Target poses of the tool in the base frame.
            q_start: (n,) for all or (N, n) [rad, m]: postures to stay near.
            home: (n,) where to begin without ``q_start``; the middle of the seeds' range if None.

        Returns:
            Joints (N, n), status (N,), errors (N, 2) [m], [rad], steps (N,).

        Raises:
            ValueError: Shapes do not fit.
        """
        matrices = np.array(Ts_base_tool, dtype=np.float64, order="C", copy=None)
        if matrices.size == 0:
            matrices = matrices.reshape(0, 4, 4)
        starts = self._home(home) if q_start is None else np.atleast_2d(np.asarray(q_start, dtype=np.float64))
        count = len(matrices)
        if matrices.shape[1:] != (4, 4):
            raise ValueError(f"Targets must have shape (N, 4, 4), not {matrices.shape}.")
        if starts.shape not in ((1, self.n), (count, self.n)):
            raise ValueError(f"q_start must have shape ({self.n},) or ({count}, {self.n}), not {starts.shape}.")
        q, errors = np.empty((count, self.n)), np.empty((count, 2))
        status, steps = np.empty(count, np.int64), np.empty(count, np.int64)
        for part in self._parts(count):
            Ts = self._upload(matrices[part], self._kernels.matrix)
            here = self._upload(starts if len(starts) == 1 else starts[part], self._types.joints)
            solutions = self._solutions(len(Ts))
            self._run(Ts, here, q_start is not None, solutions)
            q[part], status[part] = solutions.q.numpy(), solutions.status.numpy()
            errors[part], steps[part] = solutions.errors.numpy(), solutions.steps.numpy()
        return q, status, errors, steps

    def solve_on_device(
        self, Ts_base_tool: Any, q_start: Any = None, *, home: ArrayLike | None = None
    ) -> DeviceSolutions:
        """Solve targets that are on the device already, and leave the solutions there.

        Args:
            Ts_base_tool: (N, 4, 4) float64 array of Warp, or one that speaks DLPack (torch, CuPy, JAX); copied only
                where it is not contiguous.
            q_start: (n,) for all or (N, n) likewise: postures to stay near.
            home: (n,) where to begin without ``q_start``, an ordinary array.

        Raises:
            ValueError: Shapes, types or devices do not fit.
        """
        Ts = self._adopt(Ts_base_tool, "Targets", (4, 4), self._kernels.matrix)
        if q_start is None:
            starts = self._upload(self._home(home), self._types.joints)
        else:
            starts = self._adopt(q_start, "q_start", (self.n,), self._types.joints)
        if len(starts) not in (1, len(Ts)):
            raise ValueError(f"q_start must have 1 or {len(Ts)} rows, not {len(starts)}.")
        solutions = self._solutions(len(Ts))
        for part in self._parts(len(Ts)):
            views = DeviceSolutions(
                q=solutions.q[part],
                status=solutions.status[part],
                errors=solutions.errors[part],
                steps=solutions.steps[part],
            )
            self._run(Ts[part], starts if len(starts) == 1 else starts[part], q_start is not None, views)
        self._wp.synchronize_device(self._device)  # the caller may read and free on another stream
        return solutions

    def _run(self, Ts: Any, starts: Any, has_start: bool, solutions: DeviceSolutions) -> None:
        """Solve one chunk of at least one target."""
        count, settings = len(Ts), self._settings
        work = self._workspace(count)
        kept = (work.scores, solutions.q, solutions.status, solutions.errors, solutions.steps)
        seeds = self._empty((count, 1), self._types.joints)
        begun = (work.targets, work.references, work.start_first, seeds, *kept)
        self._launch(self._kernels.begin, count, self._arm, int(has_start), int(self._heads > 0), Ts, starts, *begun)
        if self._heads:
            self._seed(work, work.items, count, has_start, 1, seeds)
        # Without a network the start gets no second turn.
        first_steps = min(FIRST_STEPS, settings.iterations) if self._heads else settings.iterations
        self._attempt(work, work.items, count, seeds, (first_steps, first_steps), _SEED_ZERO, has_start, kept)
        limits = (0, settings.iterations)  # what is left is near singular: float64 throughout
        if self._heads:
            for items, rows in self._open(work, solutions.status, self._heads + 1):
                seeds = self._empty((rows, self._heads + 1), self._types.joints)
                self._seed(work, items, rows, has_start, self._heads, seeds)
                self._attempt(work, items, rows, seeds, limits, self._heads, has_start, kept)
        if settings.restarts:
            for items, rows in self._open(work, solutions.status, settings.restarts):
                self._attempt(work, items, rows, self._restarts, limits, _NO_SLOT, has_start, kept)
        for items, rows in self._open(work, solutions.status, 1):
            self._explain(work, items, rows, solutions)

    def _seed(self, work: _Work, items: Any, rows: int, has_start: bool, heads: int, seeds: Any) -> None:
        """Let the network write the seeds (rows, slots) of ``items``; a slot behind the last head is the start."""
        network = (self._weights, FEATURES, self._width, int(has_start), heads)
        targets = (items, work.targets, work.references, work.start_first)
        self._launch(self._propose, rows, self._arm, *network, *targets, seeds)

    def _attempt(
        self,
        work: _Work,
        items: Any,
        rows: int,
        seeds: Any,
        limits: tuple[int, int],
        start_slot: int,
        has_start: bool,
        kept: tuple[Any, ...],
    ) -> None:
        """Refine all seeds of the first ``rows`` items, and keep what is best."""
        slots = seeds.shape[1]
        found = (self._empty((rows, slots), self._types.joints), self._empty((rows, slots), self._wp.vec4))
        targets = (items, work.targets, work.references)
        self._launch(
            self._kernels.attempt, (rows, slots), self._arm, *limits, *self._tolerances, *targets, seeds, *found
        )
        near_only = start_slot == _SEED_ZERO and has_start and self._heads > 0
        choice = (int(has_start), int(near_only), start_slot, *self._tolerances, items, work.references)
        self._launch(self._kernels.choose, rows, *choice, work.start_first, *found, *kept)

    def _open(self, work: _Work, status: Any, slots: int) -> Iterator[tuple[Any, int]]:
        """Yield (items, rows) of what is not solved yet, so few at a time that their slots fill a chunk at most."""
        work.count.zero_()
        items = self._empty(len(status), self._wp.int32)
        self._launch(self._kernels.gather, len(status), status, work.count, items)
        left, most = int(work.count.numpy()[0]), max(self._chunk // slots, 1)
        for begin in range(0, left, most):
            end = min(begin + most, left)
            yield items[begin:end], end - begin

    def _explain(self, work: _Work, items: Any, rows: int, solutions: DeviceSolutions) -> None:
        """Replace the status of what stayed open by the reason, found on the CPU: these targets are few."""
        targets, q = self._empty(rows, work.targets.dtype), self._empty(rows, self._types.joints)
        self._launch(self._kernels.pick, rows, items, work.targets, solutions.q, targets, q)
        matrices = np.tile(np.eye(4), (rows, 1, 1))
        matrices[:, :3] = targets.numpy()
        status = np.full(rows, OPEN)
        classify_many(self._chain, _whole_pose(self.n), matrices, q.numpy(), status)
        self._launch(self._kernels.put, rows, items, self._upload(status, self._wp.int64), solutions.status)

    def _workspace(self, count: int) -> _Work:
        return _Work(
            targets=self._empty(count, self._kernels.pose),
            references=self._empty(count, self._types.joints),
            start_first=self._empty(count, self._wp.int32),
            scores=self._empty(count, self._wp.float32),
            items=self._upload(np.arange(count, dtype=np.int32), self._wp.int32),
            count=self._empty(1, self._wp.int32),
        )

    def _solutions(self, count: int) -> DeviceSolutions:
        return DeviceSolutions(
            q=self._empty(count, self._types.joints),
            status=self._empty(count, self._wp.int64),
            errors=self._empty(count, self._kernels.pair),
            steps=self._empty(count, self._wp.int64),
        )

    def _parts(self, count: int) -> Iterator[slice]:
        """Yield slices of a chunk each."""
        for begin in range(0, count, self._chunk):
            yield slice(begin, min(begin + self._chunk, count))

    def _home(self, home: ArrayLike | None) -> Floats:
        """Return the start (1, n) of targets that come without one."""
        start = np.array(self._chain.centre if home is None else home, dtype=np.float64)
        if start.shape != (self.n,):
            raise ValueError(f"home must have shape ({self.n},), not {start.shape}.")
        return start[None]

    def _launch(self, kernel: Any, dim: Any, *arguments: Any) -> None:
        self._wp.launch(kernel, dim, inputs=arguments, device=self._device, block_dim=BLOCK)

    def _empty(self, shape: Any, dtype: Any) -> Any:
        return self._wp.empty(shape, dtype=dtype, device=self._device)

    def _upload(self, values: Any, dtype: Any) -> Any:
        return self._wp.array(values, dtype=dtype, device=self._device)

    def _adopt(self, values: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a Warp array over memory that is on the device already."""
        array = values if isinstance(values, self._wp.array) else self._wp.from_dlpack(values)
        whole = tuple(array.shape) + tuple(array.dtype._shape_ if hasattr(array.dtype, "_shape_") else ())
        scalar = getattr(array.dtype, "_wp_scalar_type_", array.dtype)
        if len(shape) == 1 and whole == shape:
            whole = (1, *shape)
        if whole[1:] != shape or len(whole) != len(shape) + 1:
            raise ValueError(f"{name} must have shape (N, {', '.join(map(str, shape))}), not {whole}.")
        if scalar is not self._wp.float64 or array.device != self._device:
            raise ValueError(f"{name} must be float64 on {self._device}, not {scalar.__name__} on {array.device}.")
        array = array.contiguous()
        view = self._wp.array(
            ptr=array.ptr, shape=whole[0], dtype=dtype, device=self._device, deleter=None, capacity=array.capacity
        )
        view.owner = array  # a contiguous copy must live as long as the view of it
        return view


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Work:
    """What a chunk needs on the device beside its results."""

    targets: Any
    """(N,) rigid (3, 4)."""
    references: Any
    """(N,) starts inside the limits."""
    start_first: Any
    """(N,) whether the start was refined in the first round."""
    scores: Any
    """(N,) cost of the closest pose so far."""
    items: Any
    """(N,) 0, 1, 2, ..."""
    count: Any
    """(1,)"""


def _warp() -> Any:
    """Import Warp, and keep it from reporting every kernel it loads."""
    try:
        wp: Any = importlib.import_module("warp")  # an extra: type checkers may not find it
    except ImportError as error:
        raise MissingDependencyError(
            "Batches on CUDA need Warp, which is not installed.", 'pip install "vision-ik[cuda]".'
        ) from error
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    wp.init()
    return wp


def _device(wp: Any, name: str) -> Any:
    """Return the device called ``name``."""
    if name != "cpu" and not wp.is_cuda_available():
        raise MissingDependencyError(
            "Warp finds no CUDA device.",
            "Check the NVIDIA driver with nvidia-smi, or solve on the CPU without a device.",
            device=name,
        )
    try:
        return wp.get_device(name)
    except (ValueError, RuntimeError) as error:
        raise MissingDependencyError(
            f"There is no device {name!r}.",
            f"There are: {', '.join(str(device) for device in wp.get_devices())}.",
            device=name,
        ) from error


def _arm(types: Any, chain: Chain) -> Any:
    """Return the struct that kernels take."""
    arm = types.arm()
    rows = np.reshape(chain.fixed[:, :3], (-1, 12))
    arm.fixed, arm.fixed32 = types.fixed(rows), types.fixed32(rows)
    arm.ends = types.ends(np.reshape(chain.ends[:, :3], (2, 12)))
    arm.lower, arm.upper = types.joints(chain.lower), types.joints(chain.upper)
    arm.lower32, arm.upper32 = types.joints32(chain.lower), types.joints32(chain.upper)
    arm.centre, arm.half = types.joints32(chain.centre), types.joints32(chain.half)
    arm.reach = chain.reach
    arm.prismatic = int(np.sum(chain.prismatic * 2 ** np.arange(len(chain.prismatic))))
    return arm


def _random_postures(chain: Chain, settings: Settings) -> Floats:
    """Return the postures (restarts, n) that the solver on the CPU restarts from."""
    postures = np.empty((settings.restarts, len(chain.lower)))
    state = np.uint64(settings.seed)
    for posture in postures:
        state = np.uint64(random_posture(chain, state, posture))
    return postures


def _whole_pose(n: int) -> Goal:
    """Return the goal of reaching the pose in full with all joints, the only one here."""
    goal = Goal(int(Rotation.VECTOR), np.zeros(6), 0.0, np.ones(n), np.full(n, np.nan), n > 6)
    for array in (goal.bands, goal.mobility, goal.hold):  # writable ones are another type to numba
        array.setflags(write=False)
    return goal
