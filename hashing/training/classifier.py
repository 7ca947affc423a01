"""Class scores: a linear classifier beside the hash layer, learned on the same features.

It changes neither trunk nor hash layer, so a finished model can be given one and its codes stay what they are.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from hashing.model.network import FEATURES
from hashing.progress import progress
from hashing.training.heads import Material, standardised


@dataclass(frozen=True, slots=True)
class Classifier:
    """What decides the classifier, but for the features.

    Attributes
    ----------
    steps, batch, learning_rate, weight_decay
        Of AdamW; the rate falls along a cosine.
    noise
        Standard deviation of what is added to the standardised features.
    seed
        Of draws and first weights.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    noise: float
    seed: int


def train_classifier(material: Material, classifier: Classifier) -> nn.Linear:
    """Linear layer from features (n, 1280) to logits (n, n_classes) of the shares of classes in an image.

    Cross-entropy with the shares as soft targets, so that softmax of the logits gives shares that sum to one.
    """
    torch.manual_seed(classifier.seed)
    standard, mean, spread = standardised(material.features)
    layer = nn.Linear(FEATURES, material.weights.shape[1])
    optimizer = torch.optim.AdamW(layer.parameters(), lr=classifier.learning_rate, weight_decay=classifier.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, classifier.steps)
    for _ in progress(range(classifier.steps), "classifier", classifier.steps):
        drawn = torch.multinomial(material.chances, classifier.batch)
        features = standard[drawn]
        logits = layer(features + classifier.noise * torch.randn_like(features))
        loss = functional.cross_entropy(logits, material.weights[drawn])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    layer.requires_grad_(requires_grad=False)
    layer.weight /= spread  # raw features from now on: their standardisation is folded into the layer
    layer.bias.sub_(layer.weight @ mean)
    return layer
