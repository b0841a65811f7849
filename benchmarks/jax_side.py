# mypy: ignore-errors
"""The JAX side of benchmarks/throughput.py: jit, vmap over replicates and runs, scan over the steps of an epoch.

Started by :mod:`benchmarks.jax_client` in an environment that has JAX and nothing of this repository:
``python jax_side.py CORE,CORE …``. It reads one request per line and answers each with one line, both JSON:

- ``{"prepare": file, "per": runs of each replicate, "epochs": n}`` → ``{"compile": seconds, "loss": mean training loss in
  the n-th epoch}``; the file is what :func:`benchmarks.jax_client.export` wrote;
- ``{"measure": file, "seconds": s}`` → ``{"rate": run-steps per second}`` over whole epochs of at least ``s`` seconds,
  continuing where the last request ended.
"""

import json
import os
import sys
import time
from functools import partial

if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores for its threads
    os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])

import jax
import jax.numpy as jnp
import numpy as np


def logits_of(parameters, x):
    """Logits (batch, classes) of a linear model or multilayer perceptron; ``parameters`` are weight, bias, weight, …"""
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight.T + bias)
    weight, bias = layers[-1]
    return x @ weight.T + bias


def mean_loss(parameters, x, y, weights):
    """Cross-entropy, weighted: samples that only fill up a batch have weight 0."""
    of_label = jnp.take_along_axis(jax.nn.log_softmax(logits_of(parameters, x)), y[:, None], axis=1)[:, 0]
    return -(weights * of_label).sum()


# Runs of a replicate share its batch, so that it is gathered once for all of them.
runs_of_replicate = jax.vmap(jax.value_and_grad(mean_loss), in_axes=(0, None, None, None))
all_runs = jax.vmap(runs_of_replicate, in_axes=(0, 0, 0, None))


@partial(jax.jit, donate_argnums=0)
def train_epoch(parameters, lr, rows, weights, x, y):
    """One epoch of SGD: parameters (replicates, per, …), rows (steps, replicates, batch); returns losses (steps, …) too."""

    def step(parameters, batch):
        rows, weights = batch
        losses, gradients = all_runs(parameters, x[rows], y[rows], weights)
        return [values - lr * gradient for values, gradient in zip(parameters, gradients, strict=True)], losses

    return jax.lax.scan(step, parameters, (rows, weights))


class Training:
    """Runs of one problem, compiled, with their state."""

    def __init__(self, file, per):
        data = np.load(file)
        count = sum(name.startswith("p") for name in data.files)
        initial = [data[f"p{number}"] for number in range(count)]
        self.parameters = [jnp.asarray(np.repeat(values[:, None], per, axis=1)) for values in initial]
        self.epochs = [jnp.asarray(rows) for rows in data["rows"]]
        self.fixed = [jnp.asarray(data[name]) for name in ("weights", "x", "y")]
        self.sizes = (data["weights"] > 0).sum(axis=1)
        self.lr = jnp.float32(data["lr"])
        self.run_steps = self.epochs[0].shape[0] * self.epochs[0].shape[1] * per
        begun = time.perf_counter()
        self.step = train_epoch.lower(self.parameters, self.lr, self.epochs[0], *self.fixed).compile()
        self.compile_seconds = time.perf_counter() - begun
        self.done = 0

    def epoch(self):
        """Train one more; returns its mean loss over samples and runs, on the device."""
        rows = self.epochs[self.done % len(self.epochs)]
        self.parameters, losses = self.step(self.parameters, self.lr, rows, *self.fixed)
        self.done += 1
        return losses

    def loss_after(self, epochs):
        """The mean training loss of the last of so many epochs."""
        losses = [self.epoch() for _ in range(epochs)][-1]
        return float(np.average(np.asarray(losses), axis=0, weights=self.sizes).mean())

    def rate(self, seconds):
        """Run-steps per second over whole epochs of at least so many seconds."""
        first, begun = self.done, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            jax.block_until_ready(self.epoch())
        return (self.done - first) * self.run_steps / (time.perf_counter() - begun)


def main():
    """Answer requests until nobody asks."""
    known = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            training = known[request["prepare"]] = Training(request["prepare"], request["per"])
            answer = {"compile": training.compile_seconds, "loss": training.loss_after(request["epochs"])}
        else:
            answer = {"rate": known[request["measure"]].rate(request["seconds"])}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
