"""`synood benchmark ...`: what can be measured, and who is measured."""

from __future__ import annotations

from cyclopts import App

benchmark = App(
    name="benchmark",
    help="Test suites and the systems that are compared on them.",
    help_format="plaintext",
    sort_key=7,
)


@benchmark.command
def methods() -> None:
    """List every compared system with its paper and what it needs."""
    from synood.benchmark.systems import registry

    systems = [system.method for system in registry()]
    width = max(len(method.name) for method in systems)
    for kind in ("inductive", "test-time"):
        for method in systems:
            if method.kind == kind:
                print(f"{method.name:<{width}}  {kind}  {method.title}: {method.paper}")
                print(f"{'':<{width}}  needs {', '.join(method.needs)}")
