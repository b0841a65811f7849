"""A cluster that trains, on engines that others keep: Dask, or Slurm by submitit.

``controller`` deals calls out and does what is lost again; ``dask`` and ``slurm`` bring a call to a worker; ``agent`` is what
a worker runs, and ``process`` what it starts, with the very code of whoever asks.
"""
