"""Recipes: chains of passes as values, checked, bound to a target, and run.

recipe = read("int8")                        # a shipped name, or a TOML file
recipe = bind(recipe, target.profile())      # fills what the target decides
check(recipe, model.facts)                   # refuses a wrong order before anything runs
model, records = run(recipe, model, context)
"""

import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pocketlens.errors import ConfigError, PassError, PocketlensError, RecipeError, UnknownNameError
from pocketlens.passes import pass_class
from pocketlens.scheme_json import scheme_from_json, scheme_to_json
from pocketlens.stages import StageStore
from pocketlens.types import Context, Fact, Json, Model, Pass, PassResult, Profile, Record, Scheme

Facts = frozenset[Fact]


class Chain:
    """Passes in order; itself a pass. A chain inside a chain stands for its passes.

    Args:
        passes: run first to last.
        name: for people.
        description: one sentence.
    """

    def __init__(self, *passes: Pass, name: str = "custom", description: str = "") -> None:
        self.passes: tuple[Pass, ...] = tuple(
            part for step in passes for part in (step.passes if isinstance(step, Chain) else (step,))
        )
        self.name, self.description = name, description

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and to_json(self) == to_json(other)

    def __hash__(self) -> int:
        return hash(self.passes)

    @property
    def requires(self) -> Facts:
        """Facts that the chain needs and does not establish itself."""
        needed: Facts = frozenset()
        held: Facts = frozenset()
        for step in self.passes:
            needed |= step.requires - held
            held = (held - step.destroys) | step.establishes
        return needed

    @property
    def forbids(self) -> Facts:
        """Facts that stand against the chain from outside."""
        against: Facts = frozenset()
        gone: Facts = frozenset()
        for step in self.passes:
            against |= step.forbids - gone - self._established_before(step)
            gone |= step.destroys
        return against

    @property
    def establishes(self) -> Facts:
        """Facts that hold after the chain whatever held before."""
        held: Facts = frozenset()
        for step in self.passes:
            held = (held - step.destroys) | step.establishes
        return held

    @property
    def destroys(self) -> Facts:
        """Facts that no longer hold after the chain."""
        gone: Facts = frozenset()
        for step in self.passes:
            gone = (gone | step.destroys) - step.establishes
        return gone

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Run the passes; the record holds theirs."""
        result, records = run(self, model, context)
        summary = {"passes": [record.name for record in records]}
        seconds = sum(record.seconds for record in records)
        return PassResult(result, Record(name="Chain", config=to_json(self), summary=summary, seconds=seconds))

    def _established_before(self, step: Pass) -> Facts:
        held: Facts = frozenset()
        for earlier in self.passes[: self.passes.index(step)]:
            held |= earlier.establishes
        return held


def check(recipe: Chain, facts: Facts = frozenset()) -> None:
    """Refuse an order of passes that cannot work.

    Args:
        recipe: the chain.
        facts: what is true of the model before it.
    Raises: RecipeError naming the pass, its place, and what would mend it.
    """
    came = facts
    for place, step in enumerate(recipe.passes, 1):
        where = f"pass {place} of {len(recipe.passes)}, {type(step).__name__},"
        if missing := sorted(step.requires - facts):
            raise RecipeError(f"{where} requires a model that is {', '.join(missing)}; {_mend(missing[0])}")
        if old := sorted(step.forbids & came):
            raise RecipeError(f"{where} needs a model that is not {', '.join(old)} yet; give it as it was before")
        if present := sorted(step.forbids & facts):
            raise RecipeError(f"{where} cannot follow what made the model {', '.join(present)}; put it before that")
        if {"tied", "folded"} <= facts and "quantized" not in facts and getattr(step, "trains", False):
            raise RecipeError(
                f"{where} would pull tied layers apart once batch norms are folded; put it before FoldBatchNorm"
            )
        facts = (facts - step.destroys) | step.establishes
        came -= step.destroys | step.establishes


def iterate(prune: Pass, tune: Pass, rounds: int) -> Chain:
    """Prune -> tune -> prune -> tune: the same end in several smaller cuts, each followed by tuning.

    Args:
        prune: has a field `macs` (or, where that is 0, `ratio`): the share that is gone after the last round.
        tune: runs after each cut.
        rounds: at least 1; each removes the same share of what is left.
    """
    if rounds < 1:
        raise ConfigError(f"`rounds` must be at least 1, got {rounds}")
    name = "macs" if getattr(prune, "macs", 0.0) else "ratio"
    share = 1 - (1 - getattr(prune, name)) ** (1 / rounds)
    cut = replace(cast(Any, prune), **{name: share})
    return Chain(*((cut, tune) * rounds), name="iterative")


def bind(recipe: Chain, profile: Profile) -> Chain:
    """Fill every field that is "auto" and that the target decides; the result is what gets recorded.

    Raises: ConfigError when the profile lacks what a pass asks for.
    """
    bound = []
    for step in recipe.passes:
        values = {}
        for item in fields(cast(Any, step)):
            source = item.metadata.get("bind")
            if source is None or getattr(step, item.name) != "auto":
                continue
            value = getattr(profile, source)
            if value is None:
                raise ConfigError(f"{type(step).__name__}.{item.name} is auto, but {profile.runtime} has no {source}")
            values[item.name] = value
        bound.append(replace(cast(Any, step), **values))
    return Chain(*bound, name=recipe.name, description=recipe.description)


def run(
    recipe: Chain,
    model: Model,
    context: Context,
    *,
    store: StageStore | None = None,
    on_stage: Callable[[Model, Record], None] = lambda model, record: None,
) -> tuple[Model, tuple[Record, ...]]:
    """Run a bound recipe.

    Args:
        recipe: checked against `model.facts` first.
        model: stays as it is.
        context: its `unquantized` is kept up to date as the passes go.
        store: where finished stages are kept and looked up; None keeps nothing.
        on_stage: called after each pass with its model and record.
    Returns: the last model and every pass's record.
    Raises: RecipeError for a wrong order; PassError naming the pass that failed and those before it.
    """
    check(recipe, model.facts)
    records: list[Record] = []
    for place, step in enumerate(recipe.passes, 1):
        if "quantized" not in model.facts:
            context = replace(context, unquantized=model)
        key = store.key(model, pass_to_json(step), context) if store else ""
        result = store.load(key) if store else None
        if result is None:
            own = store.work(key) if store else None
            try:
                result = step(model, replace(context, work=own or _folder(context.work / f"pass{place}")))
            except (PocketlensError, RuntimeError, ValueError) as error:
                raise _failed(recipe, place, step, error) from error
            if store:
                store.save(key, result)
        model = result.model
        records.append(result.record)
        on_stage(model, result.record)
    return model, tuple(records)


def read(source: str | Path) -> Chain:
    """A shipped recipe by name, or a TOML file by path.

    Raises: UnknownNameError, RecipeError.
    """
    shipped = {p.name.removesuffix(".toml"): p for p in _shipped().iterdir() if p.name.endswith(".toml")}
    if str(source) in shipped:
        return from_toml(shipped[str(source)].read_text("utf-8"))
    path = Path(source)
    if path.suffix != ".toml":
        raise UnknownNameError("recipe", str(source), [*shipped, "FILE.toml"])
    try:
        return from_toml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error


def shipped_recipes() -> dict[str, str]:
    """Name -> description of the recipes that come with pocketlens."""
    return {r.name: r.description for r in (from_toml(p.read_text("utf-8")) for p in _shipped().iterdir())}


def from_toml(text: str) -> Chain:
    """Parse `name`, `description` and one `[[pass]]` table a pass (`use` names it, the rest are its fields)."""
    try:
        return from_json(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"a recipe must be TOML: {error}") from error


def from_json(data: Json) -> Chain:
    """The inverse of `to_json`. Raises RecipeError naming what is wrong."""
    if unknown := sorted(set(data) - {"name", "description", "pass"}):
        raise RecipeError(f"a recipe has name, description and [[pass]] tables, got also: {', '.join(unknown)}")
    tables = data.get("pass")
    if not isinstance(tables, list) or not tables:
        raise RecipeError("a recipe needs at least one [[pass]] table, got none")
    passes = tuple(pass_from_json(table, place) for place, table in enumerate(tables, 1))
    return Chain(*passes, name=str(data.get("name", "custom")), description=str(data.get("description", "")))


def to_json(recipe: Chain) -> Json:
    """A recipe as plain data, scheme and all."""
    return {
        "name": recipe.name,
        "description": recipe.description,
        "pass": [pass_to_json(step) for step in recipe.passes],
    }


def to_toml(recipe: Chain) -> str:
    """A recipe as TOML that `from_toml` reads back to the same value."""
    lines = [f"name = {_toml(recipe.name)}", f"description = {_toml(recipe.description)}"]
    for table in to_json(recipe)["pass"]:
        given = ((key, value) for key, value in table.items() if value is not None)  # TOML has no None
        lines += ["", "[[pass]]", *(f"{key} = {_toml(value)}" for key, value in given)]
    return "\n".join(lines) + "\n"


def pass_to_json(step: Pass) -> Json:
    """A pass as {"use": its name, field: value ...}."""
    values = {item.name: getattr(step, item.name) for item in fields(cast(Any, step))}
    plain = {k: scheme_to_json(v) if isinstance(v, Scheme) else v for k, v in values.items()}
    return {"use": type(step).__name__, **{k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}}


def pass_from_json(table: Json, place: int = 1) -> Pass:
    """The inverse of `pass_to_json`; `place` is for the error."""
    values = dict(table)
    name = values.pop("use", None)
    if not isinstance(name, str):
        raise RecipeError(f'pass {place} needs `use = "NAME"`, got {name!r}')
    kind = pass_class(name)
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - known):
        has = f"it has: {', '.join(sorted(known))}" if known else "it has no fields"
        raise RecipeError(f"pass {place}, {name}, has no field {', '.join(unknown)}; {has}")
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
        elif key == "scheme" and isinstance(value, dict):
            values[key] = scheme_from_json(value)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"pass {place}, {name}: {error}") from error


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _failed(recipe: Chain, place: int, step: Pass, error: Exception) -> PassError:
    done = ", ".join(type(p).__name__ for p in recipe.passes[: place - 1])
    after = f" (after {done})" if done else ""
    failure = PassError(f"pass {place} of {len(recipe.passes)}, {type(step).__name__}{after}: {error}")
    failure.exit_code = getattr(error, "exit_code", 1)
    return failure


def _mend(fact: str) -> str:
    hints = {"folded": "put FoldBatchNorm before it", "quantized": "put QuantizeStatic before it"}
    return hints.get(fact, "put the pass that does this before it")


def _shipped() -> Any:
    return resources.files("pocketlens") / "recipes"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return repr(value)
