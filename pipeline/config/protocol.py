"""What a training script and who starts it both name: the protocol of docs/own-training.md."""

VARIABLE = "PIPELINE_TRIAL"
"""Names the JSON file that asks for a run."""
FIGURES = ("train_loss", "validation_loss", "validation_metric")
"""What the line of an epoch tells; the metric may be left out."""
TESTED = ("test_loss", "test_metric")
"""What the last line tells; both may be left out."""
CHECKPOINT = "checkpoint.pt"
"""What a killed run goes on from, in its folder."""
