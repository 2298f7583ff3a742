"""Imports make no circles, whether they run when a module loads, within a function, or for types only."""

import grimp


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Groups of modules each of which imports, by way of the others, itself; sorted."""
    reached = {module: graph.find_upstream_modules(module) for module in graph.modules}
    groups = {
        tuple(sorted({module, *(other for other in upstream if module in reached[other])}))
        for module, upstream in reached.items()
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def test_no_modules_import_each_other():
    graph = grimp.build_graph("trademl_pipeline", exclude_type_checking_imports=False, cache_dir=None)
    assert len(graph.modules) > 300
    assert circles(graph) == []


def test_a_circle_is_found_with_all_its_modules():
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        graph.add_import(importer=importer, imported=imported)
    assert circles(graph) == [["a", "b", "c"]]
