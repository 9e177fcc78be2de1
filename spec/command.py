"""The command line: `spec/check`."""

import argparse
from fractions import Fraction

from spec.checker import Result
from spec.hardware import rates_of
from spec.models import BY_NAME, MODELS, MUTANTS, MUTANTS_BY_NAME, Model, check
from spec.state import UNARMED, Config, State


def main() -> int:
    """0: everything as it must be. 1: not so. 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="spec/check",
        description="Search everything that can happen in the model of the safety protocol. Without options: every model, "
        "the bound and one tick less, then every mutant.",
    )
    parser.add_argument("--model", metavar="NAME", choices=BY_NAME, help="one model; prints the way to a violation")
    parser.add_argument(
        "--mutate", metavar="NAME", choices=MUTANTS_BY_NAME, help="one mistake, and how it is found out"
    )
    parser.add_argument("--mutants", action="store_true", help="every mistake, as a table")
    parser.add_argument("--list", action="store_true", help="the names of models and mutants")
    chosen = parser.parse_args()
    if chosen.list:
        return _list()
    if chosen.mutate:
        return _show_mutant(chosen.mutate)
    if chosen.model:
        return _show_model(BY_NAME[chosen.model])
    if chosen.mutants:
        return _mutants()
    return max(_models(), _mutants())


# --- tables ----------------------------------------------------------------------------------------------------------


def _list() -> int:
    for model in MODELS:
        print(f"{model.name:24}{model.why}")
    print()
    for mutant in MUTANTS:
        print(f"{mutant.name:24}{mutant.mistake}  ({mutant.code})")
    return 0


def _models() -> int:
    print(f"{'model':15}{'constants':33}{'at the bound':34}{'one tick off':36}")
    wrong, states, seconds = 0, 0, 0.0
    for model in MODELS:
        good = check(model.config)
        wrong += bool(good.violation) or not good.complete
        line = f"{model.name:15}{_constants(model.config):33}{_verdict(good):34}"
        states, seconds = states + good.states, seconds + good.seconds
        if model.tight:
            bad = check(model.one_tick_off())
            wrong += not bad.violation
            line += _verdict(bad)
            seconds += bad.seconds
        print(line, flush=True)
    print(
        f"\n{len(MODELS)} models, {states:,} states, {seconds:.0f} s: "
        + (f"{wrong} WRONG" if wrong else "all as they must be")
    )
    return int(wrong > 0)


def _mutants() -> int:
    print(f"\n{'mutant':24}{'mistake':76}{'refuted by':12}{'steps':>6}{'seconds':>9}")
    survivors, seconds = 0, 0.0
    for mutant in MUTANTS:
        result = check(mutant.config)
        survivors += not result.violation
        seconds += result.seconds
        verdict = result.violation.split(":")[0] or "SURVIVES"
        print(
            f"{mutant.name:24}{mutant.mistake:76}{verdict:12}{len(result.trace) - 1:>6}{result.seconds:>9.2f}",
            flush=True,
        )
    refuted = f"{len(MUTANTS) - survivors} of {len(MUTANTS)} refuted"
    print(f"\n{refuted}, {seconds:.0f} s")
    return int(survivors > 0)


def _constants(c: Config) -> str:
    rho = Fraction(c.hi - c.lo, c.hi + c.lo)
    if c.prompt:
        return f"F {c.F} G {c.G} W {c.W} p {c.period}  stops {c.prompt}"
    wait = f"  T {c.T_wait}" if "P4" in c.proofs else ""
    return f"F {c.F} G {c.G} W {c.W} j {c.j} ρ {rho}{wait}"


def _verdict(result: Result[State]) -> str:
    if result.violation:
        return f"{result.violation.split(':')[0]} broken in {len(result.trace) - 1} steps"
    known = "holds" if result.complete else "GIVEN UP"
    return f"{known}: {result.states:,} states, {result.seconds:.1f} s"


# --- one search, step by step ----------------------------------------------------------------------------------------


def _show_model(model: Model) -> int:
    print(f"{model.name}: {model.why}\n{_constants(model.config)}\n")
    good = check(model.config)
    _show(good, model.config)
    if not model.tight:
        return int(bool(good.violation))
    off = model.one_tick_off()
    print(f"\nOne tick off: {_constants(off)}\n")
    bad = check(off)
    _show(bad, off)
    return int(bool(good.violation) or not bad.violation)


def _show_mutant(name: str) -> int:
    mutant = MUTANTS_BY_NAME[name]
    print(f"{mutant.mistake} ({mutant.code})\n{_constants(mutant.config)}\n")
    result = check(mutant.config)
    _show(result, mutant.config)
    return int(not result.violation)


def _show(result: Result[State], c: Config) -> None:
    """Clocks and what is left of each time in ticks, as they are after the step."""
    if not result.violation:
        print(_verdict(result))
        return
    print("  node  manager     D−now  D+G−now  since pet   beat age")
    node = manager = 0
    for step in result.trace:
        passed = rates_of(step.what, c)
        node, manager = node + passed[0], manager + passed[1]
        s = step.state
        guard = "" if s.guard != "armed" else _ticks(s.guard_left, c)
        pet = "" if s.watchdog == UNARMED or s.guard == "idle" else _ticks(s.watchdog, c)
        age = _ticks(s.age, c) if s.seen else ""
        left = "" if s.left < 0 else _ticks(s.left, c)
        print(f"{_ticks(node, c):>6}{_ticks(manager, c):>9}{left:>10}{guard:>9}{pet:>11}{age:>11}   {step.what}")
    print(f"\n{result.violation} ({result.states:,} states, {result.seconds:.1f} s)")


def _ticks(sub: int, c: Config) -> str:
    return "past" if sub < 0 else str(Fraction(sub, c.hi))
