"""No dead rooms: what nothing but tests reaches is wired or deleted, but for what is declared here."""

import ast
import tomllib
from collections.abc import Iterable
from functools import cache

from trademl_pipeline.models.registry import _MODULES
from trademl_pipeline_tests.reach import ROOT, Function, Module, Reach, sources

PACKAGE = "trademl_pipeline"

# What users call and the package itself need not. A class stands for its methods, a module for all that it defines.
PUBLIC_API = {
    # the end of an audit in a pipeline of one's own (docs/leakage.md)
    "leakage.report.AuditReport.assert_clean",
    # prices and returns across splits as of a moment (docs/market-data.md)
    "market.adjust.adjusted",
    "market.adjust.total_return",
    # the simulated market's own truth, which models are measured by
    "simulation.market.SimulatedMarket.best_scores",
    "simulation.market.SimulatedMarket.index_bars",
    "simulation.market.SimulatedMarket.listings",
    "simulation.market.SimulatedMarket.planted_events",
    "simulation.market.SimulatedMarket.realized",
}

# Made and tested; what will call it is being built. Options that no study chooses are not seen here: stacked weights,
# warm restarts, weighting by uncertainty, two objectives of a search, the BiLSTM body, class-balanced sampling, triple
# barriers.
WIRED_ELSEWHERE = {
    "evaluation.conformal.AdaptiveConformal": "intervals of live predictions",
    "evaluation.conformal.conformal_intervals": "intervals of live predictions",
    "leakage.probes.statistics.audit_statistics": "the audit of published predictions",
    "leakage.probes.windows.audit_windows": "the audit of sequences as they were read",
    "models.hybrid.Hybrid.fusion_weights": "a report's pages of its model",
    "training.interpret.attention_over_time": "a report's pages of its model",
    "training.interpret.integrated_gradients": "a report's pages of its model",
    "training.networks.fine_tune.OnlineConfig": "the daily update of a model that serves",
    "training.networks.fine_tune.OnlineUpdate": "the daily update of a model that serves",
    "training.selection.Projection": "principal components as inputs of a study",
    "training.selection.fit_projection": "principal components as inputs of a study",
    "training.trees.classes.shap_values": "a report's pages of its model",
}

# Found by name or by path as the program runs.
LOADED = {
    "leakage.feature_audit.sealed_process.main",  # of the processes that call a function under audit
    *(f"models.{module}.{name}" for module, name in _MODULES.items()),
    *(f"models.{module}.{name}Config" for module, name in _MODULES.items()),
    "registry.pyfunc_model.TradingModel",  # MLflow runs the file
}

# Methods that a library calls on our subclass of its class: torch, requests, MLflow, pydantic-settings.
HOOKS = ("forward", "send", "load_context", "settings_customise_sources", "get_field_value")


@cache
def modules(*folders: str) -> dict[str, Module]:
    return {name: Module(name, tree) for folder in folders for name, tree in sources(folder)}


def qualified(names: Iterable[str]) -> set[str]:
    return {f"{PACKAGE}.{name}" for name in names}


def entrances(known: dict[str, Module]) -> set[str]:
    """Console scripts, programs, and what Dagster and Typer are given as modules are imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    scripts = {target.replace(":", ".") for target in project["scripts"].values()}
    programs = {name for name, module in known.items() if module.is_program}
    loaded = {
        f"{name}.{node.name}"
        for name, module in known.items()
        if name.startswith((f"{PACKAGE}.defs.", f"{PACKAGE}.cli"))
        for node in module.own.values()
        if isinstance(node, Function) and (node.decorator_list or node.name == "definitions")
    }
    return scripts | programs | loaded | {f"{PACKAGE}.definitions", *qualified(LOADED)}


def declared(known: dict[str, Module]) -> set[str]:
    """What is declared above: each thing, and all that a module defines."""
    names = qualified([*PUBLIC_API, *WIRED_ELSEWHERE])
    return names | {f"{name}.{own}" for name in names if name in known for own in known[name].own}


def covers(names: set[str], dotted: str) -> bool:
    return dotted in names or dotted.rpartition(".")[0] in names


@cache
def reached_by_all() -> Reach:
    """What entrances, declared names and benchmarks get to."""
    known = modules(PACKAGE, "benchmarks")
    found = Reach(known)
    found.add(entrances(known) | declared(known) | {name for name in known if name.startswith("benchmarks")})
    return found


def test_every_public_function_is_reached_by_more_than_tests() -> None:
    names, found = declared(modules(PACKAGE, "benchmarks")), reached_by_all()
    left = {x for x in found.unreached(HOOKS) if x.startswith(f"{PACKAGE}.") and not covers(names, x)}
    assert left == set(), "only tests reach these: wire them or delete them"


def test_every_module_is_imported_by_more_than_tests() -> None:
    known, found = modules(PACKAGE, "benchmarks"), reached_by_all()
    packages = {name for name, module in known.items() if not module.own}
    assert set(known) - found.reached - packages == set()


def test_what_is_declared_is_there_and_still_waits_for_its_caller() -> None:
    known = modules(PACKAGE)
    found = Reach(known)
    found.add(entrances(known))
    left = found.unreached(HOOKS)
    waits = left | {x.rpartition(".")[0] for x in left}
    assert qualified([*PUBLIC_API, *WIRED_ELSEWHERE]) - waits == set(), "reached by now, or gone: take it out"


def test_what_only_dead_code_calls_is_dead() -> None:
    source = """
def alive(): pass
def dead(): helper()
def helper(): pass
class A:
    def called_by_itself(self): self.called_by_itself()
    def called(self): pass
A().called(), alive
"""
    found = Reach({"m": Module("m", ast.parse(source))})
    found.add(["m"])
    assert found.unreached() == {"m.dead", "m.helper", "m.A.called_by_itself"}


def test_a_re_export_is_no_use() -> None:
    known = {
        "p": Module("p", ast.parse("from p.a import used, unused")),
        "p.a": Module("p.a", ast.parse("def used(): pass\ndef unused(): pass")),
        "p.b": Module("p.b", ast.parse("from p import used\nused()")),
    }
    found = Reach(known)
    found.add(["p.b"])
    assert found.unreached() == {"p.a.unused"}
