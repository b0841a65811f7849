"""An image classifier in the manner of PyTorch's MNIST example, on the 8×8 digits of scikit-learn, brought into a study."""

import argparse

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody writes it
from sklearn.datasets import load_digits
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split

from pipeline.trial import Scheduler, trial

Loader = DataLoader[tuple[Tensor, ...]]


class Net(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 1), nn.Conv2d(8, 16, 3, 1)
        self.dropout = nn.Dropout(0.25)
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Log probabilities."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(self.dropout(F.max_pool2d(x, 2)), 1)
        return F.log_softmax(self.fc2(self.dropout(F.relu(self.fc1(x)))), dim=1)


def train(args: argparse.Namespace, model: Net, loader: Loader, optimizer: optim.Optimizer, scheduler: Scheduler) -> float:
    """One epoch; its mean loss."""
    model.train()
    total = 0.0
    for data, target in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(data)
        if args.dry_run:
            break
    return total / len(loader.dataset)  # type: ignore[arg-type]


@torch.no_grad()
def test(model: Net, loader: Loader) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    loss = correct = 0.0
    for data, target in loader:
        output = model(data)
        loss += F.nll_loss(output, target, reduction="sum").item()
        correct += (output.argmax(dim=1) == target).sum().item()
    size = len(loader.dataset)  # type: ignore[arg-type]
    return loss / size, correct / size


def main() -> None:
    """Train and look."""
    parser = argparse.ArgumentParser(description="PyTorch digits example")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    digits, classes = load_digits(return_X_y=True)
    images = torch.tensor(digits, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    parts = random_split(TensorDataset(images, torch.tensor(classes)), [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))

    torch.manual_seed(trial.seed)
    train_loader = DataLoader(parts[0], batch_size=args.batch_size, shuffle=True)
    validation_loader, test_loader = DataLoader(parts[1], batch_size=1000), DataLoader(parts[2], batch_size=1000)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=trial.lr)
    scheduler = trial.scheduler(optimizer, steps_per_epoch=len(train_loader))
    for epoch in trial.epochs(model=model, optimizer=optimizer):
        train_loss = train(args, model, train_loader, optimizer, scheduler)
        loss, accuracy = test(model, validation_loader)
        print(f"epoch {epoch}: training loss {train_loss:.4f}, validation loss {loss:.4f}, accuracy {accuracy:.0%}")
        trial.report(train_loss=train_loss, validation_loss=loss, validation_metric=accuracy)
    loss, accuracy = test(model, test_loader)
    print(f"test loss {loss:.4f}, accuracy {accuracy:.0%}")
    trial.finish(test_loss=loss, test_metric=accuracy)


if __name__ == "__main__":
    main()
