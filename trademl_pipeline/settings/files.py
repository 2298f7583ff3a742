"""`trademl.yaml`: read with the line of every value, written once by the first run, edited in single values after."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trademl_pipeline.settings.errors import SettingsError
from trademl_pipeline.settings.model import describe, hidden, keys, secret_keys

FILE = "trademl.yaml"
_HEADER = """\
# A data set of trademl: what this folder was made from, and the settings of all that is computed in it.
# Flags of a command and environment variables go before what stands here;
# `trademl config --home {folder}` shows every value in force and where it was said.
# Yours to edit: a key that is left out has its default, docs/architecture.md lists them all.
"""
_ABOUT = {
    "data": "What the bars are. Other bars, or another calendar, are another data set: give it another folder.",
    "universe": "Whom one may decide on.",
    "references": "What symbols are compared with.",
}


def read(path: Path) -> dict[str, tuple[Any, int]]:
    """Value and line of every key (`section.name`) in a file; nothing where there is none.

    Raises:
        SettingsError: the file is empty, no YAML, or not made of sections.
    """
    root = _composed(path)
    if root is None:
        return {}
    entries: dict[str, tuple[Any, int]] = {}
    for section, block in root.value:
        name = str(section.value)
        if not isinstance(block, yaml.MappingNode):
            # A section that only comments stand in.
            if isinstance(block, yaml.ScalarNode) and block.tag == "tag:yaml.org,2002:null":
                entries |= (
                    {}
                    if any(key.startswith(f"{name}.") for key in keys())
                    else {name: (None, _line(section))}
                )
                continue
            entries[name] = (None, _line(section))
            if any(key.startswith(f"{name}.") for key in keys()):
                raise SettingsError(
                    f"{path}:{_line(section)}: {name} is a section; write its keys below it, indented"
                )
            continue
        for key, value in block.value:
            full = f"{name}.{key.value}"
            if full in entries:
                raise SettingsError(f"{path}:{_line(key)}: {full} stands there twice")
            entries[full] = (_constructed(value, path), _line(key))
    return entries


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _constructed(node: yaml.Node, path: Path) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}:{_line(node)} cannot be read: {_reason(error)}") from error


def _reason(error: yaml.YAMLError) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _composed(path: Path) -> yaml.MappingNode | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError(f"{where} is no YAML: {_reason(error)}; mend the line") from error
    if root is None:
        raise SettingsError(
            f"{path} is empty: it says what the data set in its folder is; put it back, or name another folder"
        )
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(
            f"{path}:1: write sections with keys below them, such as data: and below it source:"
        )
    return root


def write(path: Path, values: Mapping[str, Any]) -> bool:
    """Write the file of a new data set; one that is there is left as it is.

    Args:
        path: the file.
        values: by key; those that are empty are left out.

    Returns:
        True where it was written.
    """
    if path.exists():
        return False
    secret = secret_keys()
    stated = {
        key: value for key, value in values.items() if value not in ("", None, {}) and key not in secret
    }
    hiding = [key for key, value in stated.items() if isinstance(value, str) and hidden(value) != value]
    if hiding:
        raise SettingsError(
            f"{hiding[0]} holds a password, which has no place in {path}: export it as a variable"
        )
    lines = [_HEADER.format(folder=path.parent)]
    sections = dict.fromkeys(key.split(".")[0] for key in keys())
    for section in sections:
        of_section = {key: stated[key] for key in keys() if key in stated and key.startswith(f"{section}.")}
        if not of_section:
            continue
        lines += [f"# {_ABOUT[section]}"] if section in _ABOUT else []
        lines.append(f"{section}:")
        lines += [_entry(key, value) for key, value in of_section.items()]
        lines.append("")
    return put(path, "\n".join(lines), replace=False)


def _entry(key: str, value: Any) -> str:
    name, about = key.split(".")[1], f"  # {describe(key)}"
    if isinstance(value, Mapping):
        below = [f"    {_scalar(k)}: {_scalar(v)}" for k, v in value.items()]
        return "\n".join([f"  {name}:{about}", *below])
    return f"  {name}: {_scalar(value)}{about}"


def _scalar(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and len(value) == 10 and value.endswith("-01") and value[:4].isdigit():
        value = value[:7]
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True).strip()
    return text.removesuffix("...").strip()


def edit(path: Path, key: str, value: Any) -> None:
    """Change one value of a file and leave everything else in it, comments too, as it stands.

    Raises:
        SettingsError: the file cannot be read, or is not there.
    """
    root = _composed(path)
    if root is None:
        raise SettingsError(f"there is no {path} to edit")
    text, (section, name) = path.read_text(encoding="utf-8"), key.split(".")
    blocks = {str(node.value): (node, block) for node, block in root.value}
    written = _scalar(value)
    if section not in blocks:
        edited = text.rstrip("\n") + f"\n\n{section}:\n{_entry(key, value)}\n"
    else:
        node, block = blocks[section]
        edited = _edited(text, node, block, section, name, written)
    if edited != text:
        put(path, edited, replace=True)


def _edited(text: str, node: yaml.Node, block: yaml.Node, section: str, name: str, written: str) -> str:
    entries = {str(k.value): v for k, v in block.value} if isinstance(block, yaml.MappingNode) else {}
    if name in entries:
        start, end = entries[name].start_mark.index, entries[name].end_mark.index
        # `end:` with nothing behind it is a value of no length, right behind the colon.
        return f"{text[:start]}{' ' if start == end and text[start - 1] == ':' else ''}{written}{text[end:]}"
    if isinstance(block, yaml.MappingNode) and block.flow_style:
        at = block.start_mark.index + 1
        return f"{text[:at]}{name}: {written}{', ' if entries else ''}{text[at:]}"
    before = [_line_end(text, entries[k]) for k in _declared_before(section, name) if k in entries]
    at = next((end for end in before if end is not None), None) or _line_end(text, node) or len(text)
    indent = " " * (block.value[0][0].start_mark.column if entries else 2)
    about = describe(f"{section}.{name}")
    return f"{text[:at]}\n{indent}{name}: {written}  # {about}{text[at:]}"


def _declared_before(section: str, name: str) -> list[str]:
    """The keys of a section that are declared before one of them, the nearest first."""
    names = [key.split(".")[1] for key in keys() if key.startswith(f"{section}.")]
    return names[: names.index(name)][::-1]


def _line_end(text: str, node: yaml.Node) -> int | None:
    """The end of the line of a value on one line; None of one that takes several."""
    if not isinstance(node, yaml.ScalarNode) or node.start_mark.line != node.end_mark.line:
        return None
    at = text.find("\n", node.end_mark.index)
    return len(text) if at < 0 else at


def put(path: Path, text: str, *, replace: bool) -> bool:
    """Write a file whole or not at all; without `replace` only where there is none. Returns whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(made).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        if replace:
            Path(made).replace(path)
            return True
        try:
            # Of two first runs one makes the file, and the other takes what that one made.
            os.link(made, path)
        except FileExistsError:
            return False
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(made).unlink()
