"""All that an extractor can look into besides its arguments.

An extractor that reads the whole sample out of a closure, a global or an attribute would pass every probe that cuts
its arguments only. So everything is looked through that its code can reach: closures, the globals and the attributes
of modules that the code names, defaults, attributes of functions, instances and classes, partials, bound methods,
containers, the functions called from there, and the constants written into the code. Rows are cut with the bars where
that is possible. Whatever else carries data is named: a table without time, an array, a fitted model, an object of a
library whose inside cannot be seen.

Not looked into are the functions of libraries. Objects that are reached by a name that is made up while the code runs
cannot be told, so code that does that is named as well.
"""

from typing import Any

from trademl_pipeline.leakage.feature_audit.bindings import Binding
from trademl_pipeline.leakage.feature_audit.constants import Shape
from trademl_pipeline.leakage.feature_audit.inside import look_inside
from trademl_pipeline.leakage.feature_audit.libraries import Libraries
from trademl_pipeline.leakage.feature_audit.memory import Later, Readings, remembered
from trademl_pipeline.leakage.feature_audit.places import environment
from trademl_pipeline.leakage.feature_audit.reached import Reached
from trademl_pipeline.leakage.feature_audit.walk import Walk


def reach(fn: Any, shape: Shape) -> Reached:
    """Return what a callable holds besides its arguments.

    Args:
        fn: the extractor.
        shape: of the panel it is audited on, which tells data from settings.
    """
    libraries = Libraries(fn)
    walk = Walk(shape, libraries, look_inside)
    walk.later = later = Later()
    label = getattr(fn, "__name__", type(fn).__name__)
    try:
        walk.visit(Binding(label, lambda: fn, None))
        walk.finish()
    except RecursionError:
        walk.name(label, "objects in objects, too deep to be looked through")
    if later.bindings or later.modules:
        walk.reached.add(
            remembered(later, shape, libraries.package, lambda r: _from(later, shape, libraries, r))
        )
    walk.reached.places.append(environment())
    return walk.reached


def _from(later: Later, shape: Shape, libraries: Libraries, readings: Readings) -> Reached:
    """A walk from what another has left for later."""
    walk = Walk(shape, libraries, look_inside)
    walk.readings = walk.judgements = readings
    for binding in later.bindings:
        walk.visit(binding)
    for module, names, label in later.modules:
        walk.module(module, names, label)
    walk.finish()
    return walk.reached
