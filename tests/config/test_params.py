"""params.yaml: what is right is read, and what is wrong is told at its place."""
# ruff: noqa: E501  # a table of whole messages

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import CATALOGUE
from pipeline.config.errors import ParamsError
from pipeline.config.params import Params, ReportParams, SeedRange, load_params, placed_in
from pipeline.config.problem_params import ProblemParams
from pipeline.config.schedules import Schedule
from tests.conftest import ROOT
from tests.fixtures import Edited

DEFAULT = (ROOT / "params.yaml").read_text(encoding="utf-8")
FORM = re.compile(r"params\.yaml:[1-9]\d*:[1-9]\d*: [^\n]+? \(given: [^\n]+\); [^\n]+")
HERE = "¦"
"""Stands in an edit before the place that a message must name."""

TOP = ", ".join(Params.model_fields)
PROBLEM_KEYS = ", ".join(ProblemParams.model_fields)
ENTRY = ", ".join(Schedule.model_fields)
NAMES = ", ".join(entry.name for entry in CATALOGUE.schedulers)
LABELS = "StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, ReduceLROnPlateau, CyclicLR, OneCycleLR, CosineWarmup, LinearDecay, WarmupStableDecay, REX, ScheduleFree, ConstantLR"
WHOLE = "write one without quotes, point or exponent, such as 100"
LENGTH = "write a whole number from 1 up, or a percentage of the run such as 30%"
RATE = "write a number from 0 up, or a percentage of the optimizer's learning rate such as 10%"
PEAK = RATE.replace("from 0 up", "above 0")
OWN = ", or register one of your own in pipeline/custom.py: docs/own-code.md"
OPTIMIZERS = ", ".join(each.name for each in CATALOGUE.optimizers)
MAPPING = "write `key: value`, one a line, or {key: value, …}"
LABEL = "use up to 64 letters, digits, _ and -, beginning with a letter or digit"
KIND = "write text (in quotes if need be), a number, true, false, a list or a mapping"
NAME = "begin it with a letter"
UNSEEN = "(the file): holds a no-break space, which is no blank to YAML"
CONTENT = "write `problems:`, `schedulers:` and so on, each with what it holds"


def load(path: Path, content: str | bytes) -> Params:
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return load_params(CATALOGUE, path)


def told(path: Path, content: str | bytes) -> list[str]:
    """The lines of the error, each of the form that all must have."""
    with pytest.raises(ParamsError) as raised:
        load(path, content)
    lines = str(raised.value).split("\n")
    assert [line for line in lines if not FORM.fullmatch(line)] == []
    return lines


def marked(text: str) -> tuple[str, list[str]]:
    """The text without its marks, and the place of each as LINE:COLUMN."""
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        columns = [match.start() - before for before, match in enumerate(re.finditer(HERE, line))]
        places += [f"{number}:{column + 1}" for column in columns]
    return text.replace(HERE, ""), places


def check(path: Path, text: str, *expected: str) -> None:
    """One expected message a mark; a place with several messages has a mark for each."""
    text, places = marked(text)
    assert told(path, text) == [f"params.yaml:{at}: {line}" for at, line in zip(places, expected, strict=True)]


def is_whole(given: str) -> str:
    return f"seeds: is not a whole number (given: {given}); {WHOLE}"


def kind(given: str) -> str:
    return f"seeds: is of a kind that is not used here (given: {given}); {KIND}"


SGD = "optimizer: {name: SGD, lr: 1.0}"
MLP = "{name: mlp, hidden: [32]}"
PROBLEM = "problems.synthetic"
EXPONENTIAL = "  ExponentialLR: {args: {gamma: 0.95}}"
OVERRIDES = "schedulers: {} # overrides for this problem, by label"

WRONG: dict[str, tuple[str, ...]] = {
    # types and ranges of plain numbers
    "a word for a number": ("seeds: 10", "seeds: ¦ten", is_whole("ten")),
    "a fraction": ("seeds: 10", "seeds: ¦1.5", is_whole("1.5")),
    "a float that is whole": ("seeds: 10", "seeds: ¦10.0", is_whole("10.0")),
    "an exponent": ("batch_size: 32", "batch_size: ¦1e3", f"{PROBLEM}.batch_size: is not a whole number (given: 1e3); {WHOLE}"),
    "a number in quotes": ("seeds: 10", 'seeds: ¦"10"', is_whole('"10"')),
    "true for a number": ("seeds: 10", "seeds: ¦true", is_whole("true")),
    "NaN for a whole number": ("seeds: 10", "seeds: ¦.nan", is_whole(".nan")),
    "infinity for a whole number": ("seeds: 10", "seeds: ¦-.inf", is_whole("-.inf")),
    "a list for a number": ("seeds: 10", "seeds: ¦[10]", is_whole("[10]")),
    "sexagesimal": ("seeds: 10", "seeds: ¦1:30", is_whole("1:30")),
    "nothing for a number": ("seeds: 10", "¦seeds:", is_whole("nothing")),
    "too few seeds": ("seeds: 10", "seeds: ¦1", "seeds: must be at least 2 (given: 1); write 2 or more"),
    "too many seeds": ("seeds: 10", "seeds: ¦1001", "seeds: must be at most 1000 (given: 1001); write 1000 or less"),
    "no epochs": ("epochs: 100", "epochs: ¦0", f"{PROBLEM}.epochs: must be at least 1 (given: 0); write 1 or more"),
    "a percentage of epochs": ("epochs: 100", "epochs: ¦-5%", f"{PROBLEM}.epochs: is neither a length nor a rate, so it has no percentage (given: -5%); write a number"),
    "a huge batch": ("batch_size: 32", "batch_size: ¦99999999", f"{PROBLEM}.batch_size: must be at most 1000000 (given: 99999999); write 1000000 or less"),
    "5000 digits": ("seeds: 10", f"seeds: ¦{'9' * 5000}", f"seeds: cannot be read as its type (given: {'9' * 57}…); write a usual number, true or false"),
    "5000 hexadecimal digits": ("seeds: 10", f"seeds: ¦0x{'f' * 5000}", f"seeds: must be at most 1000 (given: 0x{'f' * 55}…); write 1000 or less"),
    "400 digits": ("noise: 0.05", f"noise: ¦{'9' * 400}", f"{PROBLEM}.dataset.noise: is not a number (given: {'9' * 57}…); write one, such as 0.1"),
    "yes for true": ("resample: true", "resample: ¦yes", f"{PROBLEM}.resample: is not true or false (given: yes); write true or false"),
    "1 for true": ("resample: true", "resample: ¦1", f"{PROBLEM}.resample: is not true or false (given: 1); write true or false"),
    "an unknown device": ("device: auto", "device: ¦gpu", "device: is not a device (given: gpu); write auto, cpu, cuda, cuda:0, cuda:1 … or mps"),
    "a device with a line end": ("device: auto", 'device: ¦"cpu\\n"', 'device: is not a device (given: "cpu\\n"); write auto, cpu, cuda, cuda:0, cuda:1 … or mps'),
    "a number for a device": ("device: auto", "device: ¦0", "device: is not text (given: 0); write a word, or put it in quotes"),
    # keys
    "a misspelt key": ("seeds: 10", "¦seed: 10", f"seed: is not known here (given: seed); did you mean seeds? (one of {TOP})"),
    "a misspelt section": ("report: {every: 10, baseline: ConstantLR, matters: 1%}", "¦reprot: {every: 10, baseline: ConstantLR}", f"reprot: is not known here (given: reprot); did you mean report? (one of {TOP})"),
    "a key of an earlier version": ("    batch_size: 32", "    batch_size: 32\n    ¦compile: true", f"{PROBLEM}.compile: is not known here (given: compile); write `engine: compiled` or `engine: tensors`"),
    "models of an earlier version": ("seeds: 10", "seeds: 10\n¦models: best", "models: is not known here (given: models); write `keep_model: true`, or leave it out"),
    "a misspelt key of a problem": ("    batch_size: 32", "    batch_size: 32\n    ¦bach_size: 3", f"{PROBLEM}.bach_size: is not known here (given: bach_size); did you mean batch_size? (one of {PROBLEM_KEYS}, script)"),
    "a misspelt key of the report": ("every: 10", "¦evry: 10", "report.evry: is not known here (given: evry); did you mean every? (one of every, baseline, at, matters, target)"),
    "a misspelt key of a schedule": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, ¦intervall: epoch}", f"schedulers.ExponentialLR.intervall: is not known here (given: intervall); did you mean interval? (one of {ENTRY})"),
    "an argument outside args": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, ¦gamma: 0.9}", f"schedulers.ExponentialLR.gamma: is not known here (given: gamma); write one of {ENTRY}; what is the scheduler's own stands under `args`"),
    "a key of a problem beside it": ("seeds: 10", "seeds: 10\n¦epochs: 9", "epochs: is not known here (given: epochs); write it under `problems.NAME`"),
    "a rate beside its optimizer": ("    batch_size: 32", "    batch_size: 32\n    ¦lr: 0.1", f"{PROBLEM}.lr: is not known here (given: lr); write it under `optimizer`"),
    "a key of the search beside it": ("seeds: 10", "seeds: 10\n¦trials: 9", "trials: is not known here (given: trials); write it under `tune`"),
    "a key twice": ("seeds: 10", "seeds: 10\n¦seeds: 11", "seeds: is there twice, first in line 4 (given: seeds); remove one of the two"),
    "a problem twice": ("  digits:", "  ¦synthetic:", f"{PROBLEM}: is there twice, first in line 7 (given: synthetic); remove one of the two"),
    "a number as a key": ("  synthetic:", "  ¦1:", f"problems.1: is not text and cannot be a name (given: 1); {NAME}"),
    "true as a key": ("  synthetic:", "  ¦true:", f"problems.true: is not text and cannot be a name (given: true); {NAME}"),
    "null as a key": ("seeds: 10", "seeds: 10\n¦null: 1", f"null: is not text and cannot be a name (given: null); {NAME}"),
    "a list as a key": ("seeds: 10", "seeds: 10\n¦[a, b]: 1", f"[a, b]: is not text and cannot be a name (given: [a, b]); {NAME}"),
    "a mapping as a key": ("seeds: 10", "seeds: 10\n? ¦{a: 1}\n: 1", f"{{a: 1}}: is not text and cannot be a name (given: {{a: 1}}); {NAME}"),
    # problems
    "a problem with a dot": ("  synthetic:", "  ¦syn.thetic:", f"problems.syn.thetic: is not a usable name (given: syn.thetic); {LABEL}"),
    "a problem with a slash": ("  synthetic:", "  ¦../x:", f"problems.../x: is not a usable name (given: ../x); {LABEL}"),
    "a misspelt dataset": ("{name: synthetic", "{name: ¦syntetic", f"{PROBLEM}.dataset.name: is not a registered dataset (given: syntetic); did you mean synthetic? (one of synthetic, digits, file, iris, wine, breast_cancer, diabetes, linnerud)"),
    "a misspelt argument of a dataset": ("train: 1000", "¦trane: 1000", f"{PROBLEM}.dataset.trane: is not known here (given: trane); did you mean train? (one of train, validation, test, features, classes, noise, condition, spare, seed)"),
    "a share above one": ("noise: 0.05", "noise: ¦2", f"{PROBLEM}.dataset.noise: must be at most 1 (given: 2); write 1 or less"),
    "a dataset without a name": ("dataset: {name: digits, seed: 0}", "dataset: ¦{seed: 0}", "problems.digits.dataset.name: is missing (given: nothing); add `name:` with one of synthetic, digits, file, iris, wine, breast_cancer, diabetes, linnerud"),
    "a word for a mapping": (SGD, "optimizer: ¦SGD", f"{PROBLEM}.optimizer: is not a mapping (given: SGD); write {{name: SGD}}"),
    "an optimizer in lower case": (SGD, "optimizer: {name: ¦sgd, lr: 1}", f"{PROBLEM}.optimizer.name: is not a registered optimizer (given: sgd); did you mean SGD? (one of {OPTIMIZERS})"),
    "a list for a name": (SGD, "optimizer: {name: ¦[SGD], lr: 1}", f"{PROBLEM}.optimizer.name: is not a registered optimizer (given: [SGD]); did you mean SGD? (one of {OPTIMIZERS})"),
    "nothing for a name": (SGD, "optimizer: {¦name: , lr: 1}", f"{PROBLEM}.optimizer.name: is not a registered optimizer (given: nothing); write one of {OPTIMIZERS}{OWN}"),
    "an optimizer without a rate": (SGD, "optimizer: ¦{name: SGD}", f"{PROBLEM}.optimizer.lr: is missing (given: nothing); add `lr:`"),
    "a rate of zero": (SGD, "optimizer: {name: SGD, lr: ¦0}", f"{PROBLEM}.optimizer.lr: must be above 0 (given: 0); write a number above 0"),
    "a percentage of nothing": (SGD, "optimizer: {name: SGD, lr: ¦1%}", f"{PROBLEM}.optimizer.lr: is neither a length nor a rate, so it has no percentage (given: 1%); write a number"),
    "an infinite rate": (SGD, "optimizer: {name: SGD, lr: ¦.inf}", f"{PROBLEM}.optimizer.lr: is not finite (given: .inf); write a usual number, such as 0.1"),
    "too short a list": (SGD, "optimizer: {name: AdamW, betas: ¦[0.9]}", f"{PROBLEM}.optimizer.betas: has too few entries (given: [0.9]); write at least 2"),
    "no decay to spare": (SGD, "optimizer: {name: SGD, lr: 1.0, no_decay: ¦[bias]}", f"{PROBLEM}.optimizer.no_decay: spares parameters the weight decay, and there is none (given: [bias]); write a weight_decay above 0, or leave it out"),
    "no words to spare": (SGD, "optimizer: {name: AdamW, no_decay: ¦[1, 2]}", f"{PROBLEM}.optimizer.no_decay: is no list of words (given: [1, 2]); write [bias, norm], embedding, or parts of the parameters' names"),
    "one batch to accumulate": ("    batch_size: 32", "    batch_size: 32\n    accumulate: ¦1", f"{PROBLEM}.accumulate: must be at least 2 (given: 1); write 2 or more"),
    "too long a list": (SGD, "optimizer: {name: AdamW, betas: ¦[0.9, 0.9, 0.9]}", f"{PROBLEM}.optimizer.betas: has too many entries (given: [0.9, 0.9, 0.9]); write at most 2"),
    "an argument of a model that has none": ("model: {name: linear}", "model: {name: linear, ¦hidden: [3]}", f"{PROBLEM}.model.hidden: is not known here (given: hidden); remove it; nothing is allowed here"),
    "an empty list": (MLP, "{name: mlp, hidden: ¦[]}", "problems.digits.model.hidden: has too few entries (given: []); write at least 1"),
    "a number for a list": (MLP, "{name: mlp, hidden: ¦32}", "problems.digits.model.hidden: is not a list (given: 32); write [32]"),
    "an entry of a list": (MLP, "{name: mlp, hidden: [32, ¦0]}", "problems.digits.model.hidden.1: must be at least 1 (given: 0); write 1 or more"),
    "an empty entry of a list": (MLP, "{name: mlp, hidden: ¦[32, null]}".replace("¦[32, ", "[32, ¦"), f"problems.digits.model.hidden.1: is not a whole number (given: null); {WHOLE}"),
    "a choice in capitals": (MLP, "{name: mlp, hidden: [32], activation: ¦Relu}", "problems.digits.model.activation: is not one of the choices (given: Relu); did you mean relu? (one of relu, gelu, tanh)"),
    "an unknown choice": (MLP, "{name: mlp, hidden: [32], activation: ¦7}", "problems.digits.model.activation: is not one of the choices (given: 7); write one of relu, gelu, tanh"),
    "an empty section of a problem": (OVERRIDES, "¦schedulers:", f"{PROBLEM}.schedulers: is not a mapping (given: nothing); {MAPPING}"),
    "a list of overrides": (OVERRIDES, "schedulers: ¦[]", f"{PROBLEM}.schedulers: is not a mapping (given: []); {MAPPING}"),
    # schedules
    "a negative percentage": ("step_size: 30%", "step_size: ¦-5%", f"schedulers.StepLR.args.step_size: is not a length (given: -5%); {LENGTH}"),
    "an enormous percentage": ("step_size: 30%", "step_size: ¦9999999999%", f"schedulers.StepLR.args.step_size: is not a length (given: 9999999999%); {LENGTH}"),
    "a percentage of 5000 digits": ("step_size: 30%", f"step_size: ¦{'9' * 5000}%", f"schedulers.StepLR.args.step_size: is not a length (given: {'9' * 57}…); {LENGTH}"),
    "a length of zero": ("step_size: 30%", "step_size: ¦0", f"schedulers.StepLR.args.step_size: must lie between 1 and 1000000000 (given: 0); {LENGTH}"),
    "a length with a point": ("step_size: 30%", "step_size: ¦1.5", f"schedulers.StepLR.args.step_size: is not a length (given: 1.5); {LENGTH}"),
    "a length in quotes": ("step_size: 30%", 'step_size: ¦"30"', f'schedulers.StepLR.args.step_size: is not a length (given: "30"); {LENGTH}'),
    "true for a length": ("step_size: 30%", "step_size: ¦true", f"schedulers.StepLR.args.step_size: is not a length (given: true); {LENGTH}"),
    "no milestones": ("[30%, 80%]", "¦[]", "schedulers.MultiStepLR.args.milestones: has too few entries (given: []); write at least 1"),
    "a wrong milestone": ("[30%, 80%]", "[30%, ¦x]", f"schedulers.MultiStepLR.args.milestones.1: is not a length (given: x); {LENGTH}"),
    "a list in a list": ("[30%, 80%]", "[¦[30%]]", f"schedulers.MultiStepLR.args.milestones.0: is not a length (given: [30%]); {LENGTH}"),
    "one milestone without a list": ("[30%, 80%]", "¦30%", "schedulers.MultiStepLR.args.milestones: is not a list (given: 30%); write [\"30%\"]"),
    "a percentage of gamma": ("gamma: 0.1", "gamma: ¦10%", "schedulers.StepLR.args.gamma: is neither a length nor a rate, so it has no percentage (given: 10%); write a number"),
    "a negative gamma": ("gamma: 0.1", "gamma: ¦-0.1", "schedulers.StepLR.args.gamma: must be at least 0 (given: -0.1); write 0 or more"),
    "NaN": ("gamma: 0.1", "gamma: ¦.nan", "schedulers.StepLR.args.gamma: is not finite (given: .nan); write a usual number, such as 0.1"),
    "beyond any float": ("gamma: 0.1", "gamma: ¦1e999", "schedulers.StepLR.args.gamma: is not finite (given: 1e999); write a usual number, such as 0.1"),
    "a word for gamma": ("gamma: 0.1", "gamma: ¦small", "schedulers.StepLR.args.gamma: is not a number (given: small); write one, such as 0.1"),
    "a negative rate": ("base_lr: 1%", "base_lr: ¦-1", f"schedulers.CyclicLR.args.base_lr: is not a usable rate (given: -1); {RATE}"),
    "a rate that is no number": ("base_lr: 1%", "base_lr: ¦.nan", f"schedulers.CyclicLR.args.base_lr: is not a usable rate (given: .nan); {RATE}"),
    "a word for a rate": ("base_lr: 1%", "base_lr: ¦low", f"schedulers.CyclicLR.args.base_lr: is not a rate (given: low); {RATE}"),
    "no for false": ("cycle_momentum: false", "cycle_momentum: ¦no", "schedulers.CyclicLR.args.cycle_momentum: is not true or false (given: no); write true or false"),
    "an unknown scheduler": ("  StepLR: {", "  SteppLR: ¦{", f"schedulers.SteppLR.name: is not a registered scheduler (given: SteppLR); did you mean StepLR? (one of {NAMES})"),
    "an unknown name behind a label": ("  StepLR: {", "  StepLR: {name: ¦Foo, ", f"schedulers.StepLR.name: is not a registered scheduler (given: Foo); write one of {NAMES}{OWN}"),
    "a label with a space": ("  StepLR: {", "  ¦a b: {name: StepLR, ", f"schedulers.a b: is not a usable name (given: a b); {LABEL}"),
    "a label of two lines": ("  StepLR: {", '  ¦"a\\nb": {name: StepLR, ', f'schedulers.a\\U0000000ab: is not a usable name (given: "a\\nb"); {LABEL}'),
    "a label with a dot": ("  StepLR: {", "  ¦a.b: {name: StepLR, ", f"schedulers.a.b: is not a usable name (given: a.b); {LABEL}"),
    "a label of 65 letters": ("  StepLR: {", f"  ¦{'a' * 65}: {{name: StepLR, ", f"schedulers.{'a' * 65}: is not a usable name (given: {'a' * 57}…); {LABEL}"),
    "a peak of zero": ("  StepLR: {", "  StepLR: {lr: ¦0%, ", f"schedulers.StepLR.lr: is not a rate (given: 0%); {PEAK}"),
    "a negative peak": ("  StepLR: {", "  StepLR: {lr: ¦-1, ", f"schedulers.StepLR.lr: is not a usable rate (given: -1); {PEAK}"),
    "an interval in the plural": ("  StepLR: {", "  StepLR: {interval: ¦epochs, ", "schedulers.StepLR.interval: is not one of the choices (given: epochs); did you mean epoch? (one of epoch, batch)"),
    "a plateau per batch": ("  ReduceLROnPlateau: {", "  ReduceLROnPlateau: {interval: ¦batch, ", "schedulers.ReduceLROnPlateau.interval: ReduceLROnPlateau reacts to the loss of an epoch and cannot be stepped per batch (given: batch); leave `interval` out"),
    "a required argument left out": ("step_size: 30%, gamma: 0.1", "gamma: 0.1", "schedulers.StepLR.args.step_size: is missing (given: nothing); add `step_size:`"),
    "all arguments left out": (EXPONENTIAL, "  ExponentialLR: ¦{}", "schedulers.ExponentialLR.args: has neither of gamma and final (given: {}); write either gamma or final"),
    "a misspelt argument": ("base_lr: 1%, max_lr: 100%, step_size_up: 10%", "base_lr: 1%, max_lr: 100%, ¦step_size_upp: 10%", "schedulers.CyclicLR.args.step_size_upp: is not known here (given: step_size_upp); did you mean step_size_up? (one of base_lr, max_lr, step_size_up, step_size_down, mode, gamma, cycle_momentum, base_momentum, max_momentum)"),
    "both of two": (EXPONENTIAL, "  ExponentialLR: {args: ¦{gamma: 0.9, final: 1%}}", "schedulers.ExponentialLR.args: has both of gamma and final (given: {gamma: 0.9, final: 1%}); write either gamma or final"),
    "a negative warmup": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.9}, warmup: ¦-5%}", f"schedulers.ExponentialLR.warmup: is not a length (given: -5%); {LENGTH.replace('from 1', 'from 0')}"),
    "a fraction for a warmup": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.9}, warmup: ¦0.1}", f"schedulers.ExponentialLR.warmup: is not a length (given: 0.1); {LENGTH.replace('from 1', 'from 0').replace('30%', '10%')}"),
    "a second warmup": ("cooldown: 1-sqrt}}", "cooldown: 1-sqrt}, warmup: ¦5%}", "schedulers.WarmupStableDecay.warmup: comes before WarmupStableDecay, which has a warmup of 5% of its own (given: 5%); leave this one out, and write how long it is as args.warmup"),
    "a warmup before a live schedule": ("patience: 10%}}", "patience: 10%}, warmup: ¦5%}", "schedulers.ReduceLROnPlateau.warmup: has no meaning before ReduceLROnPlateau, which reacts to the loss from the first epoch on (given: 5%); leave `warmup` out"),
    "an empty schedule": (EXPONENTIAL, "  ¦ExponentialLR:", f"schedulers.ExponentialLR: is not a mapping (given: nothing); {MAPPING}"),
    "a number for a schedule": (EXPONENTIAL, "  ExponentialLR: ¦0.95", f"schedulers.ExponentialLR: is not a mapping (given: 0.95); {MAPPING}"),
    "empty arguments": (EXPONENTIAL, "  ExponentialLR: {¦args: }", f"schedulers.ExponentialLR.args: is not a mapping (given: nothing); {MAPPING}"),
    "a list of arguments": (EXPONENTIAL, "  ExponentialLR: {args: ¦[0.95]}", f"schedulers.ExponentialLR.args: is not a mapping (given: [0.95]); {MAPPING}"),
    "two averages": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: ¦{ema: 0.9, swa: 75%}}", "schedulers.ExponentialLR.average: has both of ema and swa (given: {ema: 0.9, swa: 75%}); write either ema or swa"),
    "no average": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: ¦{}}", "schedulers.ExponentialLR.average: has neither of ema and swa (given: {}); write either ema or swa"),
    "a word for an average": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: ¦swa}", f"schedulers.ExponentialLR.average: is not a mapping (given: swa); {MAPPING}"),
    "a mean of nothing new": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: {ema: ¦1}}", "schedulers.ExponentialLR.average.ema: must be below 1 (given: 1); write a number below 1"),
    "a percentage of a decay": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: {ema: ¦99%}}", "schedulers.ExponentialLR.average.ema: is neither a length nor a rate, so it has no percentage (given: 99%); write a number"),
    "a negative beginning of an average": (EXPONENTIAL, "  ExponentialLR: {args: {gamma: 0.95}, average: {swa: ¦-1}}", f"schedulers.ExponentialLR.average.swa: must lie between 0 and 1000000000 (given: -1); {LENGTH.replace('1 up', '0 up')}"),
    "a misspelt average": (OVERRIDES, "schedulers: {StepLR: {args: {step_size: 1}, average: {¦emma: 0.9, swa: 3}}}", f"{PROBLEM}.schedulers.StepLR.average.emma: is not known here (given: emma); did you mean ema? (one of ema, swa)"),
    "an average of averages": ("  ScheduleFree: {args: {momentum: 0.9}, warmup: 5%}", "  ScheduleFree: {args: {momentum: 0.9}, warmup: 5%, average: ¦{ema: 0.99}}", "schedulers.ScheduleFree.average: comes on top of ScheduleFree, which averages the weights itself (given: {ema: 0.99}); leave `average` out"),
    "an override": (OVERRIDES, "schedulers: {StepLR: {args: {step_size: ¦0}}}", f"{PROBLEM}.schedulers.StepLR.args.step_size: must lie between 1 and 1000000000 (given: 0); {LENGTH}"),
    # report
    "a baseline that is no label": ("baseline: ConstantLR", "baseline: ¦ConstantLr", f"report.baseline: is not the label of a scheduler in every problem (given: ConstantLr); did you mean ConstantLR? (one of {LABELS})"),
    "no baseline": (", baseline: ConstantLR, matters: 1%}", "}", "report.baseline: is missing (given: nothing); add `baseline:`"),
    "a number for a baseline": ("baseline: ConstantLR", "baseline: ¦3", "report.baseline: is not text (given: 3); write a word, or put it in quotes"),
    "a target of no problem": ("matters: 1%}", "matters: 1%, target: {¦digit: 0.1}}", "report.target.digit: is not a problem (given: digit); did you mean digits? (one of synthetic, digits, diabetes, images)"),
    "a target below what a loss can be": ("matters: 1%}", "matters: 1%, target: {digits: ¦-0.1}}", "report.target.digits: must be above 0 (given: -0.1); write a number above 0"),
    "a target without a problem": ("matters: 1%}", "matters: 1%, target: ¦0.1}", f"report.target: is not a mapping (given: 0.1); {MAPPING}"),
    "an empty report": ("report: {every: 10, baseline: ConstantLR, matters: 1%}", "¦report:", f"report: is not a mapping (given: nothing); {MAPPING}"),
    "a number that matters": ("matters: 1%", "matters: ¦0.01", "report.matters: is not a share (given: 0.01); write a percentage from 0% to 100%, 1% or 0.01%"),
    "an epoch that is none": ("matters: 1%", "matters: 1%, at: ¦lowest", "report.at: is not one of the choices (given: lowest); did you mean last? (one of last, best)"),
    "more than all matters": ("matters: 1%", "matters: ¦101%", "report.matters: is not a share (given: 101%); write a percentage from 0% to 100%, such as 1%"),
    "a metric's number that matters": ("matters: 1%", "matters: {loss: 1%, metric: ¦0.5}", "report.matters.metric: is not a share (given: 0.5); write a percentage from 0% to 100%, 50% or 0.5%"),
    "a misspelt margin": ("matters: 1%", "matters: {¦los: 1%}", "report.matters.los: is not known here (given: los); did you mean loss? (one of loss, metric)"),
    # seeds
    "least above most": ("seeds: 10", "seeds: {least: 12, most: ¦8}", "seeds.most: is below least, 12 (given: 8); write 12 or more"),
    "one seed at least": ("seeds: 10", "seeds: {least: ¦1, most: 8}", "seeds.least: must be at least 2 (given: 1); write 2 or more"),
    "more seeds than are numbered": ("seeds: 10", "seeds: {least: 6, most: ¦1001}", "seeds.most: must be at most 1000 (given: 1001); write 1000 or less"),
    "half a seed": ("seeds: 10", "seeds: {least: ¦6.5, most: 40}", f"seeds.least: is not a whole number (given: 6.5); {WHOLE}"),
    "a misspelt end of the seeds": ("seeds: 10", "seeds: {least: 6, most: 40, ¦batches: 4}", "seeds.batches: is not known here (given: batches); write one of least, most"),
    "no end of the seeds": ("seeds: 10", "seeds: ¦{least: 6}", "seeds.most: is missing (given: nothing); add `most:`"),
    "a list of seeds": ("seeds: 10", "seeds: ¦[6, 40]", is_whole("[6, 40]")),
    "a single seed": ("seeds: 10", "seeds: ¦1", "seeds: must be at least 2 (given: 1); write 2 or more"),
    # sweep
    "a single point": ("points: 10", "points: ¦1", "sweep.points: must be at least 2 (given: 1); write 2 or more"),
    "a budget that is none": ("budgets: [10%, 25%", "budgets: [¦ten, 25%", f"sweep.budgets.0: is not a length (given: ten); {LENGTH}"),
    "a misspelt key of the sweep": ("sweep: {points", "sweep: {¦pionts", "sweep.pionts: is not known here (given: pionts); did you mean points? (one of points, budgets)"),
    # resources
    "no amount of memory": ("    epochs: 100\n", "    epochs: 100\n    resources: {memory: ¦much}\n", "problems.synthetic.resources.memory: is no amount of memory (given: much); write for instance 500M, 8G or 1.5T"),
    "a misspelt resource": ("    epochs: 100\n", "    epochs: 100\n    resources: {¦gpu: 1}\n", "problems.synthetic.resources.gpu: is not known here (given: gpu); did you mean gpus? (one of cpus, gpus, memory)"),
    "no tuning": ("tune: {trials: 32, batch: 8, sampler: tpe, lr: {low: 1%, high: 1000%}}", "tune: ¦none", "tune: is not a mapping (given: none); tuning cannot be left out; write {trials: 1} for the least of it"),
    "a word for a sweep": ("sweep: {points: 10, budgets: [10%, 25%, 50%]}", "sweep: ¦no", "sweep: is not a mapping (given: no); write none, or what is to be swept: {points: 10, budgets: [25%, 50%]}"),
    # YAML's more remote corners
    "a date": ("seeds: 10", "seeds: ¦2026-01-01", kind("2026-01-01")),
    "a date that is none": ("seeds: 10", "seeds: ¦2026-13-45", kind("2026-13-45")),
    "a tag": ("seeds: 10", "seeds: ¦!foo 10", kind("!foo 10")),
    "a python object": ("seeds: 10", "seeds: ¦!!python/object:os.system 10", kind("!!python/object:os.system 10")),
    "a set": ("seeds: 10", "seeds: ¦!!set {a, b}", kind("!!set {a, b}")),
    "binary data": ("seeds: 10", "seeds: ¦!!binary x", kind("!!binary x")),
    "a forced integer": ("seeds: 10", "seeds: ¦!!int x", "seeds: cannot be read as its type (given: !!int x); write a usual number, true or false"),
    "a forced bool": ("seeds: 10", "seeds: ¦!!bool x", "seeds: cannot be read as its type (given: !!bool x); write a usual number, true or false"),
    "an empty integer": ("seeds: 10", "seeds: ¦!!int ''", "seeds: cannot be read as its type (given: !!int ''); write a usual number, true or false"),
    "a list that contains itself": ("seeds: 10", "seeds: ¦&a [*a]", "seeds.0: contains itself (given: &a [*a]); write the value out"),
    "a mapping that contains itself": ("device: auto", "device: ¦&a {b: {c: *a}}", "device.b.c: contains itself (given: &a {b: {c: *a}}); write the value out"),
    "merged mistakes": ("seeds: 10", "seeds: 10\n<<: {¦seedz: 1}", f"seedz: is not known here (given: seedz); did you mean seeds? (one of {TOP})"),
    # not YAML
    "a tab before a key": ("seeds: 10", "¦\tseeds: 10", "(the file): is not YAML: while scanning for the next token, found character '\\t' that cannot start any token (given: seeds: 10 # whole replicates: split, initial weights and …); indent with spaces"),
    "a tab behind a key": ("seeds: 10 #", "seeds:¦\t10 #", "(the file): is not YAML: while scanning for the next token, found character '\\t' that cannot start any token (given: 10 # whole replicates: split, initial weights and data or…); indent with spaces"),
    "a bracket left open": ("problems:", "list: [1\nproblems¦:", "(the file): is not YAML: while parsing a flow sequence (from line 6 on), expected ',' or ']', but got ':' (given: :); close the bracket before it, or write a comma"),
    "an unknown alias": ("seeds: 10", "seeds: ¦*a", "(the file): is not YAML: found undefined alias 'a' (given: *a # whole replicates: split, initial weights and data or…); put a text that begins with * in quotes"),
    "a second document": ("seeds: 10", "seeds: 10\n¦---\na: 1 ", "(the file): is not YAML: expected a single document in the stream (from line 3 on), but found another document (given: ---); leave out the line `---`, or what it parts"),
    "a merge with a number": ("seeds: 10", "seeds: 10\n<<: ¦1", "(the file): is not YAML: while constructing a mapping (from line 3 on), expected a mapping or list of mappings for merging, but found scalar (given: 1 # whole replicates: split, initial weights and data ord…); correct the YAML here or just before"),
    "a colon without a blank": ("seeds: 10", "¦seeds:10", "(the file): is not YAML: could not find expected ':' (given: seeds:10 # whole replicates: split, initial weights and d…); write `key: value`, with a blank behind the colon"),
    "a colon without a blank, in braces": ("baseline: ConstantLR", "¦baseline:ConstantLR", "report.baseline:ConstantLR: has no blank behind its colon (given: baseline:ConstantLR); write `baseline: ConstantLR`"),
    "a decimal comma in braces": ("noise: 0.05", "noise: 0,¦05", f"{PROBLEM}.dataset.05: stands behind a comma, which begins the next entry (given: 05); write numbers like 0.1 and 1000, without commas"),
    "a key too far in": ("seeds: 10 #", "seeds: 10\n  x¦: 1 #", "(the file): is not YAML: mapping values are not allowed here (given: : 1 # whole replicates: split, initial weights and data o…); indent it, or the line before, like the keys beside it; quote a text with a colon"),
    "a no-break space": ("seeds: 10 #", "seeds:¦\u00a010 #", f"{UNSEEN} (given: seeds: 10); write a plain blank in its place, or nothing"),
    "a no-break space before a key": ("    epochs: 100", "¦\u00a0   epochs: 100", f"{UNSEEN} (given: epochs: 100); write a plain blank in its place, or nothing"),
    "a no-break space in a value": ("epochs: 100", "epochs: 100¦\u00a0", f"{UNSEEN} (given: epochs: 100); write a plain blank in its place, or nothing"),
    "a no-break space in a comment": ("seeds: 10 #", "seeds: ¦ten #\u00a0", "seeds: is not a whole number (given: ten); write one without quotes, point or exponent, such as 100"),
    "a control character": ("seeds: 10", "seeds: 1¦\x010", "(the file): is not YAML: a control character (given: '\\x01'); remove it"),
}  # fmt: skip
# What is missing is told where it would stand: at the mapping's beginning, which these edits do not touch.
MISSING_AT = {
    "a misspelt key": ("device: auto", "seeds: is missing (given: nothing); add `seeds:`"),
    "a misspelt section": ("device: auto", "report: is missing (given: nothing); add `report:`"),
    "a required argument left out": ("{gamma: 0.1}}", ""),
    "no baseline": ("{every: 10}", ""),
}


def test_resources_are_none_of_what_names_runs_and_of_what_dvc_compares(tmp_path: Path) -> None:
    text = DEFAULT.replace("    epochs: 100\n", "    epochs: 100\n    resources: {cpus: 2, memory: 1.5G}\n")
    plain, asked = load(tmp_path / "plain.yaml", DEFAULT), load(tmp_path / "asked.yaml", text)
    resources = asked.problem("synthetic").resources
    assert resources is not None
    assert (resources.cpus, resources.gpus, resources.memory) == (2, 0, 3 * 2**29)
    assert asked.model_dump(mode="json") == plain.model_dump(mode="json")


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str, tmp_path: Path) -> None:
    old, new, *expected = WRONG[name]
    assert old in DEFAULT
    text = DEFAULT.replace(old, new, 1)
    if name in MISSING_AT:
        place, line = MISSING_AT[name]
        text = text.replace(place, HERE + place, 1)
        expected = [*filter(None, [line]), *expected]
    check(tmp_path / "params.yaml", text, *expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", f"1:1: (the file): holds no parameters (given: nothing); {CONTENT}"),
        (b"# only a comment\n", f"1:1: (the file): holds no parameters (given: nothing); {CONTENT}"),
        (b"- seeds\n- 10\n", f'1:1: (the file): is not a mapping (given: ["seeds", 10]); {CONTENT}'),
        (b"seeds", f"1:1: (the file): is not a mapping (given: seeds); {CONTENT}"),
        (b"' '", f'1:1: (the file): is not a mapping (given: " "); {CONTENT}'),
        (b"seeds: 10\ndevice: caf\xe9\n", "2:12: (the file): is not UTF-8 text (given: byte 0xe9); save the file as UTF-8"),
        (DEFAULT.encode("utf-16"), "1:1: (the file): is not UTF-8 text (given: byte 0xff); save the file as UTF-8"),
        (b"seeds: 10\n\0", "2:1: (the file): is not YAML: a control character (given: '\\x00'); remove it"),
        (b"a: " + b"[" * 900, f"1:53: (the file): is nested deeper than 50 levels (given: {'[' * 57}…); correct the YAML here or just before"),
        (b"%YAML 1.3\n---\nseeds: 10\n", "1:1: (the file): is not YAML: version minor part can only be 2 or 1, got (1, 3) (given: %YAML 1.3); `git diff params.yaml` shows what changed"),
        (b'a: "x\nb: 1\n', "1:4: (the file): is not YAML: found unexpected end of stream (given: \"x); close the quotation mark"),
    ],
    ids=["empty", "a comment", "a list", "a word", "a blank", "Latin-1", "UTF-16", "NUL", "deep", "YAML 1.3", "an open quote"],
)  # fmt: skip
def test_files_that_hold_no_parameters(content: bytes, expected: str, tmp_path: Path) -> None:
    assert told(tmp_path / "params.yaml", content) == [f"params.yaml:{expected}"]


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ("", f"problems: is not a mapping (given: nothing); {MAPPING}"),
        (" ¦{}", "problems: has too few entries (given: {}); write at least 1"),
        (" ¦[synthetic]", f"problems: is not a mapping (given: [synthetic]); {MAPPING}"),
    ],
)
def test_a_section_that_holds_no_problem(section: str, wrong: str, tmp_path: Path) -> None:
    before, rest = DEFAULT.split("problems:", 1)
    mark = "" if HERE in section else HERE
    text = f"{before}{mark}problems:{section}\n\nschedulers:{rest.split(chr(10) + 'schedulers:', 1)[1]}"
    check(tmp_path / "params.yaml", text, wrong)


@pytest.mark.parametrize("name", ["across", "all", "made", "reading", "report"])
def test_a_problem_with_a_name_of_the_reports_own(name: str, tmp_path: Path) -> None:
    text = DEFAULT.replace("  synthetic:", f"  ¦{name}:", 1)
    wrong = f"problems.{name}: is a name that the report has for itself (given: {name}); give the problem another one"
    check(tmp_path / "params.yaml", text, wrong)


def test_a_problem_that_holds_nothing(tmp_path: Path) -> None:
    text = DEFAULT.replace("\nschedulers:", "  ¦empty:\n  bare: ¦¦¦¦¦{}\n\nschedulers:", 1)
    missing = [f"problems.bare.{key}: is missing (given: nothing); add `{key}:`" for key in ("dataset", "model", "optimizer", "epochs", "batch_size")]  # fmt: skip
    check(tmp_path / "params.yaml", text, f"problems.empty: is not a mapping (given: nothing); {MAPPING}", *missing)


def test_each_reading_is_of_the_file_as_it_is(tmp_path: Path) -> None:
    path, text = tmp_path / "params.yaml", (ROOT / "params.yaml").read_text("utf-8")
    for seeds in (3, 4):
        path.write_text(re.sub(r"(?m)^seeds: .*", f"seeds: {seeds}", text), encoding="utf-8")
        assert load_params(CATALOGUE, path).seeds == seeds


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParamsError) as raised:
        load_params(CATALOGUE, path)
    where = "run in the repository's root, where params.yaml lies"
    assert (
        str(raised.value) == f"params.yaml:1:1: (the file): cannot be read: No such file or directory (given: {path}); {where}"
    )


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be read: Is a directory"):
        load_params(CATALOGUE, tmp_path)


def test_every_mistake_at_once(tmp_path: Path) -> None:
    """Across sections, several in one entry, and in a problem's own schedulers; in the order of the file."""
    edits = [
        ("seeds: 10", "seeds: ¦x"),
        ("condition: 10", "condition: ¦.nan"),
        ("epochs: 100", "epochs: ¦0"),
        (OVERRIDES, "schedulers: {StepLR: {args: {step_size: ¦0, ¦gama: 1}, lr: ¦-3}, Own: ¦{}}"),
        (EXPONENTIAL, "  ExponentialLR: {args: {¦gama: 0.95}, lr: ¦-1, interval: ¦day}"),
        ("every: 10, baseline: ConstantLR", "every: ¦[], baseline: ¦None"),
    ]
    text = DEFAULT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    own = f"{PROBLEM}.schedulers"
    check(
        tmp_path / "params.yaml",
        text,
        is_whole("x"),
        f"{PROBLEM}.dataset.condition: is not finite (given: .nan); write a usual number, such as 0.1",
        f"{PROBLEM}.epochs: must be at least 1 (given: 0); write 1 or more",
        f"{own}.StepLR.args.step_size: must lie between 1 and 1000000000 (given: 0); {LENGTH}",
        f"{own}.StepLR.args.gama: is not known here (given: gama); did you mean gamma? (one of step_size, gamma)",
        f"{own}.StepLR.lr: is not a usable rate (given: -3); {PEAK}",
        f"{own}.Own.name: is not a registered scheduler (given: Own); write one of {NAMES}{OWN}",
        "schedulers.ExponentialLR.args.gama: is not known here (given: gama); did you mean gamma? (one of gamma, final)",
        f"schedulers.ExponentialLR.lr: is not a usable rate (given: -1); {PEAK}",
        "schedulers.ExponentialLR.interval: is not one of the choices (given: day); write one of epoch, batch",
        f"report.every: is not a whole number (given: []); {WHOLE}",
        f"report.baseline: is not the label of a scheduler in every problem (given: None); write one of {LABELS}",
    )  # fmt: skip


def test_every_mistake_of_yaml_at_once(tmp_path: Path) -> None:
    text = DEFAULT.replace("seeds: 10", "seeds: ¦2026-01-01", 1).replace("epochs: 100", "epochs: 100\n    ¦epochs: ¦!!int x", 1)
    with pytest.raises(ParamsError) as raised:
        load(tmp_path / "params.yaml", marked(text)[0])
    assert re.findall(r"yaml:(\d+:\d+): ", str(raised.value)) == marked(text)[1]


def test_what_is_unusable_hides_no_other_mistake(tmp_path: Path) -> None:
    """And what follows from it alone is not told: nothing is missing, no type is wrong in its place."""
    edits = [
        ("seeds: 10", "seeds: ¦2026-01-01\n¦seeds: 3\n¦[a, b]: 1"),
        ("epochs: 100", "epochs: ¦0\n    ¦epochs: 5"),
        ("step_size: 30%, gamma: 0.1", "step_size: ¦!foo 1, ¦gama: 1"),
        ("[30%, 80%]", "[¦!!binary x, ¦z]"),
        ("every: 10", "every: ¦ten"),
    ]
    text = DEFAULT
    for old, new in edits:
        text = text.replace(old, new, 1)
    twice = "is there twice, first in line {} (given: {}); remove one of the two"
    check(
        tmp_path / "params.yaml",
        text,
        kind("2026-01-01"),
        f"seeds: {twice.format(4, 'seeds')}",
        f"[a, b]: is not text and cannot be a name (given: [a, b]); {NAME}",
        f"{PROBLEM}.epochs: must be at least 1 (given: 0); write 1 or more",
        f"{PROBLEM}.epochs: {twice.format(14, 'epochs')}",
        f"schedulers.StepLR.args.step_size: is of a kind that is not used here (given: !foo 1); {KIND}",
        "schedulers.StepLR.args.gama: is not known here (given: gama); did you mean gamma? (one of step_size, gamma)",
        f"schedulers.MultiStepLR.args.milestones.0: is of a kind that is not used here (given: !!binary x); {KIND}",
        f"schedulers.MultiStepLR.args.milestones.1: is not a length (given: z); {LENGTH}",
        f"report.every: is not a whole number (given: ten); {WHOLE}",
    )


def test_a_merge_that_is_unusable(tmp_path: Path) -> None:
    check(
        tmp_path / "params.yaml",
        DEFAULT.replace("seeds: 10", "seeds: ¦x\n<<: ¦!foo 1", 1),
        is_whole("x"),
        f"<<: {kind('!foo 1')[7:]}",
    )


def test_depth_is_counted_through_aliases_too(tmp_path: Path) -> None:
    text = f"a: &a {'[' * 30}x{']' * 30}\nb: {'[' * 30}*a{']' * 30}\n"
    where = ".".join(["b", *["0"] * 49])
    assert (
        f"params.yaml:1:26: {where}: is nested deeper than 50 levels (given: {'[' * 11}x{']' * 11}); write the value out"
        in told(tmp_path / "params.yaml", text)
    )


def test_a_line_and_column_counted_by_hand(tmp_path: Path) -> None:
    text = "seeds: 10\nproblems:\n  p: {epochs: 0}\n"
    assert "params.yaml:3:15: problems.p.epochs: must be at least 1 (given: 0); write 1 or more" in told(
        tmp_path / "params.yaml", text
    )


def test_the_place_of_a_mistake_found_later(repository: Path) -> None:
    args = {"gamma": 0.95}
    error = placed_in([(("schedulers", "ExponentialLR", "args"), args, "is refused", "change it")])
    line = 1 + DEFAULT.split("\n").index(EXPONENTIAL)
    assert str(error) == f"params.yaml:{line}:25: schedulers.ExponentialLR.args: is refused (given: {{gamma: 0.95}}); change it"


def test_the_place_of_a_mistake_in_what_is_not_written(repository: Path) -> None:
    error = placed_in([(("schedulers", "ConstantLR", "lr"), "100%", "is refused", "change it")])
    line = 1 + next(i for i, text in enumerate(DEFAULT.split("\n")) if text.startswith("  ConstantLR:"))
    assert str(error) == f"params.yaml:{line}:15: schedulers.ConstantLR.lr: is refused (given: 100%); change it"


# What is right


def test_the_default_file(edited: Edited) -> None:
    params = edited()
    assert params.seeds == 10
    assert list(params.problems) == ["synthetic", "digits", "diabetes", "images"]
    assert list(params.schedules("synthetic")) == LABELS.split(", ")
    assert params.schedulers["StepLR"].args == {"step_size": "30%", "gamma": 0.1}
    assert params.schedulers["StepLR"].interval == "epoch"
    assert params.schedulers["CyclicLR"].interval == "batch"
    assert params.problems["synthetic"].optimizer.args["momentum"] == 0.0


@pytest.mark.parametrize(
    ("old", "new", "read"),
    [
        (SGD, "optimizer: {name: SGD, lr: 1e-3}", lambda p: p.problems["synthetic"].optimizer.args["lr"] == 0.001),
        ("seeds: 10", "seeds: 0x10", lambda p: p.seeds == 16),
        ("seeds: 10", "seeds: 10", lambda p: (p.seed_range, p.fresh[-1]) == (SeedRange(least=10, most=10), 1009)),
        ("seeds: 10", "seeds: {least: 6, most: 40}", lambda p: (p.seeds, p.fresh[-1]) == (SeedRange(least=6, most=40), 1039)),
        ("seeds: 10", "seeds: {least: 6, most: 6}", lambda p: p.replicates == [*range(6), *range(1000, 1006)]),
        ("epochs: 100\n    batch_size: 32", "epochs: &e 33\n    batch_size: *e", lambda p: p.problems["synthetic"].batch_size == 33),
        ("gamma: 0.1", "gamma: 0", lambda p: p.schedulers["StepLR"].args["gamma"] == 0.0),
        ("patience: 10%", "patience: 0", lambda p: p.schedulers["ReduceLROnPlateau"].args["patience"] == 0),
        ("  StepLR: {", "  all: {name: StepLR, ", lambda p: p.schedulers["all"].name == "StepLR"),
        ("  StepLR: {", "  yes: {name: StepLR, ", lambda p: p.schedulers["yes"].name == "StepLR"),
        ("  StepLR: {", "  StepLR: {interval: batch, lr: 200%, ", lambda p: (p.schedulers["StepLR"].interval, p.schedulers["StepLR"].lr) == ("batch", "200%")),
        ("  StepLR: {", "  StepLR: {average: {swa: 0}, ", lambda p: p.schedulers["StepLR"].average.swa == 0),
        ("  StepLR: {", "  StepLR: {average: {ema: 0.999}, ", lambda p: p.schedulers["StepLR"].average.ema == 0.999),
        ("device: auto", "device: cuda:1", lambda p: p.device == "cuda:1"),
        ("device: auto", "", lambda p: p.device == "auto"),
        ("report: {every: 10, baseline: ConstantLR, matters: 1%}", "report:\n  <<: {every: 5}\n  baseline: StepLR", lambda p: (p.report.every, p.report.baseline) == (5, "StepLR")),
    ],
)  # fmt: skip
def test_right(old: str, new: str, read: Any, edited: Edited) -> None:
    assert read(edited((old, new)))


@pytest.mark.parametrize("text", [DEFAULT.replace("\n", "\r\n"), "\ufeff" + DEFAULT, "%YAML 1.2\n---\n" + DEFAULT])
def test_line_ends_and_marks_of_other_editors(text: str, tmp_path: Path) -> None:
    assert load(tmp_path / "params.yaml", text) == load(tmp_path / "params.yaml", DEFAULT)


def test_a_problems_own_schedulers_replace_whole_entries(edited: Edited) -> None:
    own = "schedulers: {StepLR: {args: {step_size: 5}, lr: 10%}, Extra: {name: ConstantLR}}"
    params = edited((OVERRIDES, own))
    assert params.schedules("synthetic")["StepLR"].args == {"step_size": 5}
    assert list(params.schedules("synthetic")) == [*LABELS.split(", "), "Extra"]
    assert list(params.schedules("digits")) == LABELS.split(", ")
    assert params.schedules("digits")["StepLR"].args == {"step_size": "30%", "gamma": 0.1}


def test_a_baseline_must_be_in_every_problem(edited: Edited) -> None:
    baseline = ("baseline: ConstantLR", "baseline: Own")
    own = "schedulers: {Own: {name: ConstantLR}}"
    with pytest.raises(ParamsError, match=r"report\.baseline: is not the label of a scheduler in every problem \(given: Own\)"):
        edited(baseline, (OVERRIDES, own))
    others = [("schedulers: {}\n", f"{own}\n")] * 3
    assert edited(baseline, (OVERRIDES, own), *others).report.baseline == "Own"


def test_the_key_of_a_schedule_names_all_that_defines_it(edited: Edited) -> None:
    key = edited().schedulers["StepLR"].key
    assert edited(("  StepLR: {", "  StepLR: {name: StepLR, lr: 100%, interval: epoch, ")).schedulers["StepLR"].key == key
    # it seeds masks and names runs: what is not asked for leaves no trace
    assert json.loads(key) == {
        "name": "StepLR", "args": {"step_size": "30%", "gamma": 0.1}, "lr": "100%", "warmup": 0, "interval": "epoch",
    }  # fmt: skip
    for entry in ("{interval: batch, ", "{lr: 50%, ", "{name: ConstantLR} #", "{average: {ema: 0.9}, "):
        assert edited(("  StepLR: {", f"  StepLR: {entry}")).schedulers["StepLR"].key != key


# Any text at all


def survives(path: Path, content: str | bytes) -> None:
    """Params, or an error of which every line has the form; nothing else."""
    lines = []
    try:
        load(path, content)
    except ParamsError as error:
        lines = str(error).split("\n")
    assert [line for line in lines if not FORM.fullmatch(line)] == []


YAMLISH = st.lists(
    st.sampled_from(
        ["a", "seeds", "problems", "schedulers", "report", ":", ": ", ",", "[", "]", "{", "}", "\n", "\n  ", "- ", "? ", "&a ", "*a", "!", "!!int ",
         "<<", "'", '"', "|", ">", "%", "%YAML 1.1", "---", "...", "#", "1", "-", ".", "e", "_", "0x", "0o", ".inf", ".nan", "~", "null", "true", "=", "\t", "\0",
         "\u2028", "\x85", "\r", "é", "𝛾", "2001-01-01", "\\x"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(max_examples=20)
@given(st.one_of(st.text(max_size=60), YAMLISH))
def test_any_text(tmp_path: Path, text: str) -> None:
    survives(tmp_path / "params.yaml", text)


@settings(max_examples=15)
@given(st.binary(max_size=40))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path / "params.yaml", content)


@settings(max_examples=20)
@given(st.integers(0, len(DEFAULT)), st.integers(0, 30), YAMLISH)
def test_any_cut_and_paste_in_the_default_file(tmp_path: Path, at: int, cut: int, paste: str) -> None:
    survives(tmp_path / "params.yaml", DEFAULT[:at] + paste + DEFAULT[at + cut :])


VALUES = re.findall(r"(?<=: )[^\s,{}\[\]]+", "\n".join(line.split(" #")[0] for line in DEFAULT.split("\n")))
STRANGE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text("a1%-.: ", max_size=5).map(repr), st.integers(-100, 200).map("{}%".format),
        st.sampled_from(["1e400", "9" * 4400, "2026-01-01", "!!int x", "<<", "~", "yes", "''", "=", "*a", "&a 1", "!!null x", "!!str {a: 1}", "!!seq x", "!!map []"]),
    ).map(str),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(inner, inner), max_size=3).map(lambda pairs: f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=20)
@given(st.integers(0, len(VALUES) - 1), STRANGE)
def test_any_value_in_place_of_any_value(tmp_path: Path, which: int, value: str) -> None:
    spans = [match.span() for match in re.finditer(r"(?<=: )[^\s,{}\[\]]+", DEFAULT)]
    start, end = spans[which % len(spans)]
    survives(tmp_path / "params.yaml", DEFAULT[:start] + value + DEFAULT[end:])


def test_a_plain_margin_is_that_of_loss_and_metric() -> None:
    both = ReportParams.model_validate({"baseline": "A", "matters": "2%"})
    assert (both.margin, both.metric_margin) == (0.02, 0.02)
    own = ReportParams.model_validate({"baseline": "A", "matters": {"loss": "2%", "metric": "0.5%"}})
    assert (own.margin, own.metric_margin) == (0.02, 0.005)
    assert ReportParams.model_validate(own.model_dump(mode="json")) == own


@pytest.mark.parametrize("written", ["none", "null", "~"])
def test_a_sweep_may_be_left_out(written: str, tmp_path: Path) -> None:
    text = DEFAULT.replace("sweep: {points: 10, budgets: [10%, 25%, 50%]}", f"sweep: {written}")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load_params(CATALOGUE, tmp_path / "params.yaml").sweep is None
