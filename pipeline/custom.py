"""Your own schedulers, datasets and models: write one function here and register it.

A scheduler::

    @register_scheduler("HalfCosine")
    def half_cosine(optimizer: Optimizer, total_steps: int, final: Share = 0.0) -> LRScheduler:
        return LambdaLR(optimizer, lambda step: final + (1 - final) * math.cos(math.pi / 2 * step / total_steps))

README.md, "Add your own", has an example of each kind.
"""
