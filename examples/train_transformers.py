"""Hugging Face's Trainer: the schedule is handed over as ``optimizers=``, the figures go by a callback; no download."""

from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments, set_seed

from pipeline.trial import trial

WORDS, LENGTH = 20, 8


class Sentences(Dataset):  # type: ignore[type-arg]
    """Random sentences: is there a word twice in a row?"""

    def __init__(self, size: int, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        self.words = torch.randint(1, WORDS, (size, LENGTH), generator=draws)
        self.labels = (self.words[:, 1:] == self.words[:, :-1]).any(dim=1).long()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.words[number], "labels": self.labels[number]}


class Report(TrainerCallback):
    """Tells the figures of every epoch."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Behind the epoch's validation; its training loss was logged before."""
        train_loss = next(line["loss"] for line in reversed(state.log_history) if "loss" in line)
        told = {"validation_loss": metrics["eval_loss"], "validation_metric": metrics["eval_accuracy"]}
        trial.report(train_loss=train_loss, **told)


def accuracy(found: Any) -> dict[str, float]:
    """Share of the right answers."""
    return {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())}


set_seed(trial.seed)
config = BertConfig(
    vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=LENGTH,
)  # fmt: skip
model = BertForSequenceClassification(config)
train, validation, test = (Sentences(size, 3 * trial.split + part) for part, size in enumerate((256, 128, 128)))
asked = TrainingArguments(
    output_dir=str(trial.folder), num_train_epochs=trial.budget, per_device_train_batch_size=32, use_cpu=True, seed=trial.seed,
    eval_strategy="epoch", logging_strategy="epoch", save_strategy="no", report_to="none", disable_tqdm=True,
)  # fmt: skip
optimizer = torch.optim.AdamW(model.parameters(), lr=trial.lr)
scheduler = trial.scheduler(optimizer, steps_per_epoch=len(train) // 32)
trainer = Trainer(
    model, asked, train_dataset=train, eval_dataset=validation, compute_metrics=accuracy,
    optimizers=(optimizer, scheduler), callbacks=[Report()],
)  # fmt: skip
trainer.train()
tested = trainer.predict(test).metrics
trial.finish(test_loss=tested["test_loss"], test_metric=tested["test_accuracy"])
