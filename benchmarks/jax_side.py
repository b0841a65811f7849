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


def layers(parameters, x):
    """Logits (batch, classes) of a linear model or multilayer perceptron; ``parameters`` are weight, bias, weight, …"""
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight.T + bias)
    weight, bias = layers[-1]
    return x @ weight.T + bias


def layer_norm(x, weight, bias):
    """Over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias


HEADS = 4


def chars(parameters, x):
    """Logits (batch, length, characters) of the transformer in benchmarks/shapes.py; ``parameters`` in its order."""
    (embedding, position), (*of_norm, head, head_bias) = parameters[:2], parameters[-4:]
    length = x.shape[1]
    ahead = jnp.triu(jnp.full((length, length), -jnp.inf), 1)
    hidden = embedding[x] + position
    for first in range(2, len(parameters) - 4, 12):
        into, into_bias, out, out_bias, wide, wide_bias, narrow, narrow_bias, *norms = parameters[first : first + 12]
        parts = layer_norm(hidden, *norms[:2]) @ into.T + into_bias
        queries, keys, values = (part.reshape(*x.shape, HEADS, -1).swapaxes(1, 2) for part in jnp.split(parts, 3, axis=-1))
        weights = jax.nn.softmax(queries @ keys.swapaxes(2, 3) / queries.shape[-1] ** 0.5 + ahead)
        hidden = hidden + (weights @ values).swapaxes(1, 2).reshape(hidden.shape) @ out.T + out_bias
        passed = jax.nn.gelu(layer_norm(hidden, *norms[2:]) @ wide.T + wide_bias, approximate=False)
        hidden = hidden + passed @ narrow.T + narrow_bias
    return layer_norm(hidden, *of_norm) @ head.T + head_bias


def convolution(x, kernel, stride=1):
    """Padded so that each side stays as it is, or is halved."""
    edge = [(kernel.shape[-1] // 2,) * 2] * 2
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), edge, dimension_numbers=("NCHW", "OIHW", "NCHW"))


def group_norm(x, weight, bias):
    """Of 4 groups."""
    grouped = x.reshape(len(x), 4, -1)
    centred = grouped - grouped.mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    return normed.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]


def images32(parameters, x):
    """Logits (batch, classes) of the residual network in benchmarks/shapes.py; ``parameters`` in its order."""
    take = iter(parameters)
    hidden = jax.nn.relu(group_norm(convolution(x, next(take)), next(take), next(take)))
    for stride in (1, 2, 2):
        first, second, *norms = (next(take) for _ in range(6))
        passed = jax.nn.relu(group_norm(convolution(hidden, first, stride), *norms[:2]))
        beside = hidden if stride == 1 else convolution(hidden, next(take), stride)
        hidden = jax.nn.relu(group_norm(convolution(passed, second), *norms[2:]) + beside)
    return hidden.mean((2, 3)) @ next(take).T + next(take)


MODELS = {"layers": layers, "chars": chars, "images32": images32}


def mean_loss(logits_of, parameters, x, y, weights):
    """Cross-entropy, of tokens their mean, weighted: samples that only fill up a batch have weight 0."""
    of_label = jnp.take_along_axis(jax.nn.log_softmax(logits_of(parameters, x)), y[..., None], axis=-1)[..., 0]
    return -(weights * of_label.reshape(len(x), -1).mean(1)).sum()


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_epoch(model, parameters, lr, rows, weights, x, y):
    """One epoch of SGD: parameters (replicates, per, …), rows (steps, replicates, batch); returns losses (steps, …) too."""
    # Runs of a replicate share its batch, so that it is gathered once for all of them.
    gradients = jax.value_and_grad(partial(mean_loss, MODELS[model]))
    all_runs = jax.vmap(jax.vmap(gradients, in_axes=(0, None, None, None)), in_axes=(0, 0, 0, None))

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
        self.step = train_epoch.lower(str(data["model"]), self.parameters, self.lr, self.epochs[0], *self.fixed).compile()
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
