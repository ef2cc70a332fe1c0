"""Alternatives to the shipped seeds, trained and judged alike; `docs/learned_ik.md` tells what came of them."""
