"""What learned embeddings and single directions are scored by: straight-line twins."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from synood.benchmark.systems import fssd, hvcm, tagood, winkens
from synood.benchmark.systems.subspaces import first_direction, minus_angle

pytestmark = pytest.mark.numerical


def test_the_angle_is_that_to_the_nearest_first_singular_vector():
    """As the authors' evaluate.py: left singular vectors of the transposed features."""
    rng = np.random.default_rng(0)
    classes = [rng.normal(size=(20, 6)).astype(np.float32) + 3 * axis for axis in np.eye(6)[:3]]
    lines = np.stack([first_direction(rows) for rows in classes])
    test = rng.normal(size=(15, 6)).astype(np.float32)
    vectors = [np.linalg.svd(rows.T.astype(float))[0][:, 0] for rows in classes]
    for x, score in zip(test, minus_angle(test, lines), strict=True):
        angles = [np.arccos(abs(v @ x) / np.linalg.norm(x)) for v in vectors]
        assert score == pytest.approx(-min(angles), abs=1e-5)
    assert minus_angle(classes[0][:1] * 0 + lines[0].astype("f4"), lines)[0] == pytest.approx(
        0, abs=1e-6
    )


def test_sign_and_length_of_a_feature_do_not_change_its_angle():
    rng = np.random.default_rng(1)
    lines = np.linalg.qr(rng.normal(size=(5, 5)))[0][:3]
    test = rng.normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_allclose(minus_angle(-7 * test, lines), minus_angle(test, lines), atol=1e-6)


def test_the_singularity_is_the_mean_feature_of_noise():
    seen = []

    class Linear:
        def penultimate(self, pixels):
            seen.append(pixels)
            return pixels.mean((2, 3))

    inputs = SimpleNamespace(encoder=SimpleNamespace(image_size=8), classifier=Linear())
    middle = fssd.noise_feature(inputs, 0)
    noise = torch.cat(seen)
    assert noise.shape == (100, 3, 8, 8)
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() <= 1
    assert middle == pytest.approx(noise.double().mean((0, 2, 3)).numpy(), abs=1e-6)
    assert middle.tolist() == fssd.noise_feature(inputs, 0).tolist()
    assert middle.tolist() != fssd.noise_feature(inputs, 1).tolist()
    rows = np.array([[3.0, 0.0, 4.0]], np.float32)
    assert fssd.distance(rows, np.zeros(3)) == pytest.approx([5.0])


def test_contrastive_loss_is_the_mean_over_views_of_telling_the_pair():
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(rows)
    losses = []
    for i in range(8):
        pair = (i + 4) % 8
        others = [torch.exp(unit[i] @ unit[j] / 0.5) for j in range(8) if j != i]
        losses.append(-torch.log(torch.exp(unit[i] @ unit[pair] / 0.5) / sum(others)))
    assert float(winkens.nt_xent(rows)) == pytest.approx(float(sum(losses) / 8), rel=1e-5)


def test_the_density_is_that_of_the_likeliest_class():
    rng = np.random.default_rng(2)
    classes = [rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)) + 4 * axis for axis in np.eye(3)]
    test = rng.normal(size=(10, 3)) * 3
    found = winkens.largest_log_density(test, [winkens.gaussian(rows) for rows in classes])
    for x, score in zip(test, found, strict=True):
        densities = []
        for rows in classes:
            shared = np.cov(rows.T, bias=True)
            shrunk = 0.9 * shared + 0.1 * np.trace(shared) / 3 * np.eye(3)
            densities.append(multivariate_normal(rows.mean(0), shrunk).logpdf(x))
        assert score == pytest.approx(2 * max(densities) + 3 * np.log(2 * np.pi), rel=1e-4)


def test_one_image_has_a_density_too():
    mean, whitening, determinant = winkens.gaussian(np.ones((1, 4)))
    assert np.isfinite(whitening).all()
    assert np.isfinite(determinant)
    assert mean.tolist() == [1.0] * 4


def test_tagood_is_the_largest_mean_of_cosines_pattern_by_pattern():
    rng = np.random.default_rng(3)
    centres, rows = rng.normal(size=(5, 4, 16)), rng.normal(size=(7, 64))
    found = tagood.largest_mean_cosine(rows, centres)
    for row, score in zip(torch.from_numpy(rows), found, strict=True):
        parts = row.reshape(1, 4, 16)
        each = torch.cosine_similarity(parts, torch.from_numpy(centres), dim=-1)
        assert score == pytest.approx(float(each.mean(-1).max()), abs=1e-6)


def test_centres_move_towards_the_images_of_their_class():
    centres = tagood.MovingCentres(3, seed=0)
    before = centres.rows.clone()
    images = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    loss = centres.loss(lambda rows: rows, images, torch.tensor([2, 0]))
    parts = images.reshape(2, 4, 16)
    gaps = [(parts[i] - before[c]).square().mean(1).sum() for i, c in ((0, 2), (1, 0))]
    assert float(loss) == pytest.approx(0.1 * float(sum(gaps)) / 2, rel=1e-5)
    assert torch.equal(centres.rows[1], before[1])
    assert torch.allclose(centres.rows[2], 0.99 * before[2] + 0.01 * parts[0])


def test_hvcm_is_the_largest_mixture_over_groups():
    rng = np.random.default_rng(4)
    attributes = hvcm.attributes_of(rng.normal(size=(6, 64)))
    assert attributes.shape == (6, 8, 8)
    assert attributes.sum(axis=2) == pytest.approx(1.0)
    means, variances = rng.dirichlet(np.ones(8), (3, 8)), rng.uniform(0.01, 0.1, (3, 8, 8))
    for x, score in zip(
        attributes, hvcm.likeliest_class(attributes, means, variances), strict=True
    ):
        mixtures = [
            np.mean(
                [
                    multivariate_normal(means[c, g], np.diag(variances[c, g])).pdf(x[g])
                    for g in range(8)
                ]
            )
            for c in range(3)
        ]
        assert score == pytest.approx(np.log(max(mixtures)), rel=1e-5)
