"""A plain PyTorch loop with all that real ones have: accumulation, mixed precision, clipping, an average of the weights."""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from pipeline.trial import trial

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--accumulate", type=int, default=2)
given = parser.parse_args()

digits, classes = load_digits(return_X_y=True)
train, rest = train_test_split(range(len(classes)), test_size=0.4, random_state=trial.split)
validation, test = train_test_split(rest, test_size=0.5, random_state=trial.split)
x, y = torch.tensor(digits, dtype=torch.float32) / 16, torch.tensor(classes)

torch.manual_seed(trial.seed)
model = nn.Sequential(nn.Linear(64, given.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(given.width, 10))
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True, drop_last=True)
steps = len(loader) // given.accumulate

decayed = [weight for weight in model.parameters() if weight.ndim > 1]
plain = [weight for weight in model.parameters() if weight.ndim == 1]
groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0, "lr": trial.lr / 2}]
optimizer = torch.optim.AdamW(groups, lr=trial.lr)
scheduler = trial.scheduler(optimizer, steps_per_epoch=steps)


@torch.no_grad()
def evaluated(rows: list[int]) -> tuple[float, float]:
    """Loss and accuracy of the average."""
    outputs = average.eval()(x[rows])
    return nn.functional.cross_entropy(outputs, y[rows]).item(), (outputs.argmax(1) == y[rows]).float().mean().item()


for _ in trial.epochs(model=model, optimizer=optimizer, average=average):
    total = 0.0
    for number, (inputs, targets) in enumerate(loader, 1):
        if number > steps * given.accumulate:  # what is left of an epoch makes no whole step
            break
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(inputs), targets) / given.accumulate
        loss.backward()
        total += loss.item() / steps
        if number % given.accumulate == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            average.update_parameters(model)
    loss_there, accuracy = evaluated(validation)
    trial.report(train_loss=total, validation_loss=loss_there, validation_metric=accuracy)
loss_there, accuracy = evaluated(test)
trial.finish(test_loss=loss_there, test_metric=accuracy)
