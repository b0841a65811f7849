"""PyTorch Lightning: the schedule comes from ``configure_optimizers``, the figures go by a callback."""

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from pipeline.trial import trial


class Digits(lightning.LightningModule):
    """A small network for 1797 digits of 8×8 pixels."""

    def __init__(self, steps_per_epoch: int) -> None:
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def told(self, part: str, batch: list[Tensor]) -> Tensor:
        """The loss; it and the accuracy are logged as means over the epoch."""
        outputs = self.layers(batch[0])
        loss = nn.functional.cross_entropy(outputs, batch[1])
        accuracy = (outputs.argmax(1) == batch[1]).float().mean()
        self.log_dict({f"{part}_loss": loss, f"{part}_metric": accuracy}, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """A training batch."""
        return self.told("train", batch)

    def validation_step(self, batch: list[Tensor]) -> None:
        """A validation batch."""
        self.told("validation", batch)

    def test_step(self, batch: list[Tensor]) -> None:
        """A test batch."""
        self.told("test", batch)

    def configure_optimizers(self) -> dict[str, object]:
        """Lightning steps the schedule behind every optimizer step: its interval is a step, whatever the schedule is."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=trial.lr)
        scheduler = trial.scheduler(optimizer, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Report(lightning.Callback):
    """Tells the figures of every epoch."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Behind the epoch's validation."""
        names = ("train_loss", "validation_loss", "validation_metric")
        trial.report(**{name: trainer.callback_metrics[name] for name in names})


digits, classes = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(digits, dtype=torch.float32) / 16, torch.tensor(classes))
parts = random_split(data, [0.6, 0.2, 0.2], torch.Generator().manual_seed(trial.split))
lightning.seed_everything(trial.seed, verbose=False)
train, validation, test = (DataLoader(part, batch_size=64, shuffle=part is parts[0]) for part in parts)
module = Digits(len(train))
trainer = lightning.Trainer(
    max_epochs=trial.budget, callbacks=[Report()], accelerator="cpu", default_root_dir=trial.folder,
    logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
)  # fmt: skip
trainer.fit(module, train, validation)
trainer.test(module, test, verbose=False)
trial.finish(**{name: trainer.callback_metrics[name] for name in ("test_loss", "test_metric")})
