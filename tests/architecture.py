"""The house rules, read off the source with `ast`.

Every rule is a function from a tree {path: text} to its findings, "path:line: what is wrong". The rules run on
the repository and on planted violations, so a rule that has gone blind fails as well (`test_architecture.py`).
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

Tree = Mapping[str, str]

LINES = (
    ("_arguments", "_typing", "_versions"),
    ("_numerics", "_devices"),
    ("_lanes",),
    ("_span",),
    ("activations", "initial", "data", "losses", "scalings", "paths", "claims"),
    ("networks",),
    ("kernels", "problem"),
    ("simulation", "limits", "diagnostics", "statistics", "sweeps"),
    ("plots", "report", "doctor"),
    ("studies",),
    ("cli",),
)
"""A room imports only rooms of earlier lines; rooms of one line do not know each other."""

GROUND = {"_arguments", "_typing", "_versions", "_numerics", "_devices", "_lanes"}
ONLY = {"statistics": GROUND | {"paths", "claims"}, "sweeps": GROUND}
"""Rooms that could be published alone: they see nothing but these."""

ANYWHERE = {"jax", "equinox", "jaxtyping", "numpy", "scipy"}
HOMES = {
    "diffrax": {"limits"},
    "optax": {"simulation"},
    "numba": {"simulation"},
    "chex": {"simulation", "kernels"},
    "zarr": {"sweeps"},
    "xarray": {"sweeps"},
    "netCDF4": {"sweeps"},
    "distributed": {"sweeps"},
    "mpi4py": {"sweeps"},
    "submitit": {"sweeps"},
    "matplotlib": {"plots"},
    "sklearn": {"data"},
    "cyclopts": {"cli"},
    "rich": {"cli"},
}

CEILING = 400
NOT_PUBLIC = ("jax.core", "jax.interpreters", "jax.util", "jax.experimental.ode", "jax.pmap")
SWITCHES = ("jax.enable_x64", "jax.experimental.enable_x64", "jax.experimental.disable_x64")
LEVEL = {room: level for level, line in enumerate(LINES) for room in line}
ROOT_FOLDERS = "home|root|work|Users|mnt|scratch|tmp"
MACHINE_PATH = re.compile(rf"(?<![\w./~-])/(?:{ROOT_FOLDERS})/\w|\b[A-Z]:\\\w\w|~/\w")
KEYS = (
    re.compile(r"references:?((?:\s*(?:,|and)?\s*`[\w-]+`)+)"),
    re.compile(r"references:\s*([\w-]+(?:,\s*[\w-]+)*)"),
)


@lru_cache(maxsize=512)
def parsed(text: str) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(text)


@lru_cache(maxsize=512)
def nodes(module: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a file; seven rules ask."""
    return tuple(ast.walk(module))


def modules(tree: Tree, folder: str = "jaxlimit") -> Iterator[tuple[str, str, ast.Module]]:
    """(path, room, syntax tree) of every Python file in the folder; the room of `__init__` is empty."""
    for path, text in sorted(tree.items()):
        if path.startswith(folder + "/") and path.endswith(".py"):
            room = path.split("/")[1].removesuffix(".py")
            yield path, {"__init__": "", "__main__": "cli"}.get(room, room), parsed(text)


@lru_cache(maxsize=512)
def imports(path: str, module: ast.Module) -> tuple[tuple[int, str, str], ...]:
    """(line, what is imported in full, the name it gets here) of every import, inside functions too."""
    return tuple(_imports(path, module))


def _imports(path: str, module: ast.Module) -> Iterator[tuple[int, str, str]]:
    package = list(PurePosixPath(path).parent.parts)
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name, a.asname or a.name.split(".")[0]) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{a.name}", a.asname or a.name) for a in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value, ""


def names(path: str, module: ast.Module) -> dict[str, str]:
    """Where each imported name of a file comes from: {"jnp": "jax.numpy"}; `import a.b` binds a."""
    found = {}
    for _, target, local in imports(path, module):
        found[local] = target.split(".")[0] if target.split(".")[0] == local else target
    return found


def dotted(node: ast.AST, known: Mapping[str, str]) -> str:
    """`jnp.linalg.eigh` as "jax.numpy.linalg.eigh"; empty where it is no chain of names."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        left = dotted(node.value, known)
        return f"{left}.{node.attr}" if left else ""
    return ""


def import_rule(tree: Tree) -> list[str]:
    """Lower lines only, through the room's front door, never the top level, never cli."""
    found = []
    for path, room, module in modules(tree):
        if room and room not in LEVEL:
            found.append(f"{path}:1: room `{room}` has no line in the table")
            continue
        for line, target, _ in imports(path, module):
            package, _, rest = target.partition(".")
            other, _, inner = rest.partition(".")
            if package != "jaxlimit" or (other == room and room):
                continue
            private = inner.startswith("_") and not inner.startswith("__")
            if other == "cli":
                found.append(f"{path}:{line}: cli is imported by nobody")
            elif other in LEVEL and private:
                found.append(f"{path}:{line}: `{target}` is private to its room")
            elif room in ("", "cli"):
                continue
            elif other not in LEVEL:
                found.append(f"{path}:{line}: `{target}` is the top level, which rooms do not import")
            elif LEVEL[other] >= LEVEL[room]:
                found.append(f"{path}:{line}: `{room}` may not import `{other}`, which is not on a lower line")
            elif other not in ONLY.get(room, LEVEL):
                found.append(f"{path}:{line}: `{room}` sees only {sorted(ONLY[room])}, not `{other}`")
    return found


def one_home(tree: Tree) -> list[str]:
    """Heavy packages are imported in their home only, and nothing that is not declared is imported."""
    found = []
    for path, room, module in modules(tree):
        for line, target, _ in imports(path, module):
            package = target.split(".")[0]
            if package in sys.stdlib_module_names or package in ANYWHERE or package == "jaxlimit":
                continue
            if package not in HOMES:
                found.append(f"{path}:{line}: `{package}` is no dependency of the package")
            elif room not in HOMES[package]:
                found.append(f"{path}:{line}: the home of `{package}` is {sorted(HOMES[package])}")
    return found


def abstract_or_final(tree: Tree) -> list[str]:
    """A class is named Abstract… and has something abstract, or nothing in the package subclasses it."""
    classes, bases, own, found = {}, {}, {}, []
    for path, room, module in modules(tree):
        known = names(path, module)
        for node in nodes(module):
            if isinstance(node, ast.ClassDef):
                key = (room, node.name)
                classes[key] = f"{path}:{node.lineno}: `{node.name}`"
                own[key] = any(getattr(n, "id", getattr(n, "attr", "")) in _ABSTRACT for n in ast.walk(node))
                resolved = [dotted(b.value if isinstance(b, ast.Subscript) else b, known) for b in node.bases]
                bases[key] = [_class(b, room) for b in resolved]

    def above(key: tuple[str, str]) -> Iterator[tuple[str, str]]:
        yield key
        for base in bases.get(key, ()):
            yield from above(base)

    for key, where in classes.items():
        named = key[1].lstrip("_").startswith("Abstract")
        protocol = any(name == "Protocol" for _, name in bases[key])
        if named and not any(own.get(k) for k in above(key)):
            found.append(f"{where} is named abstract and has nothing abstract")
        if own[key] and not (named or protocol):
            found.append(f"{where} has something abstract and is not named so")
        for base in bases[key]:
            open_ = base[1].lstrip("_").startswith("Abstract") or any(name in _OPEN for _, name in above(base))
            if base in classes and not open_:
                found.append(f"{where} subclasses `{base[1]}`, which is final")
    return found


_ABSTRACT = {"abstractmethod", "AbstractVar", "AbstractClassVar"}
_OPEN = {"Protocol", "Exception", "ValueError", "RuntimeError", "Warning", "UserWarning"}


def _class(name: str, room: str) -> tuple[str, str]:
    """(room, class name): a class is found by its room, whichever of its paths it was imported by."""
    parts = name.split(".")
    return (parts[1] if parts[0] == "jaxlimit" else room if len(parts) == 1 else parts[0], parts[-1])


def short_files(tree: Tree) -> list[str]:
    """No Python file is longer than the ceiling."""
    lengths = {path: text.count("\n") for path, text in tree.items() if path.endswith(".py")}
    return [f"{path}:{n}: {n} lines, more than {CEILING}" for path, n in lengths.items() if n > CEILING]


def public_jax(tree: Tree) -> list[str]:
    """Nothing private or withdrawn of JAX, in the package, its tests and its benchmarks."""
    found = set()
    for folder in ("jaxlimit", "tests", "benchmarks"):
        for path, _, module in modules(tree, folder):
            known = names(path, module)
            uses = [(line, target) for line, target, _ in imports(path, module)]
            uses += [(n.lineno, dotted(n, known)) for n in nodes(module) if isinstance(n, ast.Attribute)]
            for line, name in uses:
                parts = name.split(".")
                private = parts[0] in ("jax", "jaxlib") and any(re.match(r"_(?!_)", part) for part in parts)
                if private or any(name == n or name.startswith(n + ".") for n in NOT_PUBLIC):
                    found.add(f"{path}:{line}: `{'.'.join(parts[:3])}` is not public JAX")
    return sorted(found)


def no_configuration(tree: Tree) -> list[str]:
    """Nobody but cli sets JAX configuration: not by update, not by assignment, not by the environment."""
    found = []
    for path, room, module in modules(tree):
        known = names(path, module)
        for node in nodes(module) if room != "cli" else ():
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            called = dotted(node.func, known) if isinstance(node, ast.Call) else ""
            first = dotted(node.args[0], known) if called in ("setattr", "object.__setattr__") and node.args else ""
            written = [dotted(t, known) for t in targets if isinstance(t, ast.Attribute)]
            keys = [t.slice for t in targets if isinstance(t, ast.Subscript) and dotted(t.value, known) == "os.environ"]
            keys += node.args[:1] if called in ("os.environ.setdefault", "os.putenv") else []
            flags = [str(k.value) for k in keys if isinstance(k, ast.Constant)]
            if (
                called in ("jax.config.update", *SWITCHES)
                or first == "jax.config"
                or any(w.startswith("jax.config.") for w in written)
                or any(flag.startswith(("JAX_", "XLA_")) for flag in flags)
            ):
                found.append(f"{path}:{node.lineno}: sets JAX configuration")
    return found


def documented(tree: Tree) -> list[str]:
    """A docstring on every module, public class, public function and public method."""
    found = []
    for path, _, module in modules(tree):
        if not ast.get_docstring(module):
            found.append(f"{path}:1: the module has no docstring")
        found += [f"{path}:{line}: `{name}` has no docstring" for line, name in _undocumented(module, "")]
    return found


def _public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public definitions, also under an `if` or `try`, not those inside functions."""
    waiting = list(node.body)
    while waiting:
        child = waiting.pop(0)
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not child.name.startswith("_"):
                yield child
        else:
            waiting += [n for n in ast.iter_child_nodes(child) if isinstance(n, ast.stmt | ast.ExceptHandler)]


def _undocumented(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[int, str]]:
    for child in _public(node):
        if not ast.get_docstring(child):
            yield child.lineno, prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from _undocumented(child, f"{prefix}{child.name}.")


def known_references(tree: Tree) -> list[str]:
    """Every key that a docstring cites is a heading of docs/references.md."""
    headings = set(re.findall(r"^#+ +`?([\w-]+)`?\s*$", tree.get("docs/references.md", ""), flags=re.MULTILINE))
    return [f"{path}:{line}: no reference `{key}`" for path, line, key in cited(tree) if key not in headings]


def cited(tree: Tree) -> Iterator[tuple[str, int, str]]:
    """(path, line, key) of every citation: "references: key", "references `key`", "Source: references `a`, `b`"."""
    for path, _, module in modules(tree):
        for node in nodes(module):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                text = " ".join(str(node.value.value).split())
                keys = {k for pattern in KEYS for match in pattern.findall(text) for k in re.findall(r"[\w-]+", match)}
                yield from ((path, node.lineno, key) for key in sorted(keys - {"and"}))


def no_drawers(tree: Tree) -> list[str]:
    """No file for everything, no ``**kwargs`` in a public signature."""
    found = []
    for path, _, module in modules(tree):
        if PurePosixPath(path).stem.strip("_") in ("utils", "util", "helpers", "common", "misc"):
            found.append(f"{path}:1: a file for everything is a file for nothing")
        public = list(_public(module))
        public += [method for c in public if isinstance(c, ast.ClassDef) for method in _methods(c)]
        signatures = [node for node in public if not isinstance(node, ast.ClassDef) and node.args.kwarg]
        found += [f"{path}:{node.lineno}: `{node.name}` takes any keyword" for node in signatures]
    return found


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Public methods, and the dunder ones that users call."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and (not child.name.startswith("_") or child.name.startswith("__")):
            yield child


def no_machine_paths(tree: Tree) -> list[str]:
    """No absolute path of somebody's machine in any text."""
    lines = ((path, n, text) for path, whole in tree.items() for n, text in enumerate(whole.splitlines(), 1))
    return [f"{path}:{n}: machine path in {text.strip()!r}" for path, n, text in lines if MACHINE_PATH.search(text)]


RULES = (
    import_rule,
    one_home,
    abstract_or_final,
    short_files,
    public_jax,
    no_configuration,
    documented,
    known_references,
    no_drawers,
    no_machine_paths,
)
