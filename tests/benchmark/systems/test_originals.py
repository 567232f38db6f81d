"""The authors' own functions on random features; skipped where their code is not at hand."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import originals
from synood import scores
from synood.benchmark.systems import _growing, localprompt, oodd, tagood
from synood.benchmark.systems._growing import ChosenLabels, GrowingLabels
from synood.benchmark.systems.ants import next_threshold
from synood.benchmark.systems.interneg import ranked_words, share_out
from synood.benchmark.systems.subspaces import first_direction, minus_angle
from synood.labels.forms import same_name
from synood.labels.hypernyms import shipped_hypernyms
from synood.labels.wordnet import Word

pytestmark = pytest.mark.numerical


def need(repository):
    if originals.clone_of(repository) is None:
        pytest.skip(originals.MISSING)


def unit(*shape, seed=0, shift=0.3):
    rows = np.random.default_rng(seed).normal(size=shape) + shift
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def test_negrefine_equals_its_authors(monkeypatch):
    need("ah-ansari/NegRefine")
    theirs = originals.taken("ah-ansari/NegRefine", "src/clip_ood.py", ("CLIPood",))
    classes, negatives, images = unit(6, 16), unit(40, 16, seed=1), unit(25, 16, seed=2)
    names = [f"c{i}" for i in range(6)]
    labels = [f"n{i}" for i in range(40)]
    pairs = unit(6, 40, 16, seed=3)

    one = theirs.CLIPood.__new__(theirs.CLIPood)
    one.ngroup, one.group_fuse_num, one.k_pos, one.k_neg, one.device = 1, None, 5, 5, "cpu"
    one.pos_labels, one.neg_labels, one.noun_prompt_templates = names, labels, None

    def embedded(texts, templates):
        rows = [text.split(" and ") for text in texts]
        return torch.from_numpy(np.stack([pairs[int(p[1:]), int(n[1:])] for p, n in rows]))

    one._embed_text_labels = embedded
    expected = []
    for image in torch.from_numpy(images)[:, None]:
        known, unknown = (100 * image @ torch.from_numpy(rows).T for rows in (classes, negatives))
        share = one._neg_label_score(known, unknown).item()
        expected.append(share + 2 * one._multi_matching_score(known, unknown, image).item())

    known, unknown = images @ classes.T, images @ negatives.T
    likeliest, nearest = (np.argsort(-part, axis=1)[:, :5] for part in (known, unknown))
    matched = np.einsum("nd,nijd->nij", images, pairs[likeliest[:, :, None], nearest[:, None]])
    odds = scores.neglabel_log_odds(known, unknown, 0.01, groups=1)
    found = scores.negrefine(odds, matched, np.take_along_axis(unknown, nearest, 1), 0.01)
    np.testing.assert_allclose(3 * scores.share(found), expected, atol=1e-4)


def test_wordnet_answers_as_the_language_model_of_negrefine_mostly_does():
    """Of the nouns that the authors asked about for ImageNet; docs/systems-names.md has these."""
    need("ah-ansari/NegRefine")
    log = originals.shown("ah-ansari/NegRefine", "output/imagenet/seed_0/llm_process_noun.txt")
    answers, near = {}, {}
    for line in log.partition("-----")[0].splitlines():
        word, *name, answer = (part.strip() for part in line.split("|"))
        near.setdefault(word, []).extend(name)
        answers[word] = answers.get(word, False) or answer != ""
    relations = shipped_hypernyms()
    ours = {
        word: relations.is_proper(word)
        or any(same_name(word, name) or relations.is_kind_of(word, name) for name in near[word])
        for word in answers
    }
    alike = sum(ours[word] == answers[word] for word in answers)
    both = sum(ours[word] and answers[word] for word in answers)
    assert (len(answers), sum(answers.values()), alike, both) == (7021, 2023, 6136, 1186)


def test_interneg_chooses_the_words_of_its_authors(tmp_path, monkeypatch):
    need("ZhikangXu0112/InterNeg")
    words = [f"w{i}" for i in range(90)]
    features, classes = unit(90, 12, seed=1, shift=1), unit(5, 12, seed=2, shift=1.5)
    proxies = unit(5, 12, seed=3, shift=1.5)
    nouns = np.arange(90) < 60
    cosines = torch.from_numpy(features @ proxies.T)
    on_gpu = SimpleNamespace(cuda=lambda: None)
    stored = {
        "text_list_noun": words[:60],
        "text_list_adj": words[60:],
        "cos_sim_noun": cosines[:60],
        "cos_sim_adj": cosines[60:],
        "cos_sim_noun2": cosines[:60],
        "cos_sim_adj2": cosines[60:],
        "cos_sim_id": torch.from_numpy((classes * proxies).sum(1)),
        "class_img": on_gpu,
    }
    folder = tmp_path / "data" / "txtfiles_output"
    folder.mkdir(parents=True)
    (folder / "b_wordnet_covid_cossim_dedup.pth").touch()  # whose quantile needs few classes
    monkeypatch.chdir(tmp_path)
    theirs = originals.taken(
        "ZhikangXu0112/InterNeg",
        "openood/networks/clip_fixed_ood_prompt.py",
        ("get_selected_ood_text_list",),
        torch=SimpleNamespace(load=lambda path: stored, all=torch.all),
        os=os,
    )
    adjectives, found, *_ = theirs.get_selected_ood_text_list(None, "covid", 20, None, "b")
    candidates = [
        Word(text, "noun" if noun else "adjective", "")
        for text, noun in zip(words, nouns, strict=True)
    ]
    rows = share_out(ranked_words(candidates, features, classes, proxies), 20)
    assert [words[row] for row in rows] == [*found, *adjectives]
    assert 0 < len(adjectives) < 20


def test_tins_weighs_negatives_as_its_authors(monkeypatch):
    need("zxk1212/tins")
    theirs = originals.taken(
        "zxk1212/tins", "eval_tins_w_init.py", ("compute_grouped_positive_score",)
    )
    monkeypatch.setattr(_growing, "GROUPS", 1)
    classes, negatives, images = unit(6, 16), unit(40, 16, seed=1), unit(25, 16, seed=2)
    labels = ChosenLabels(classes, negatives, classes, 0.01)
    bank = unit(7, 16, seed=4)
    found = GrowingLabels(labels, None, 0.3, balanced=True).odds(images, bank)
    tensors = [torch.from_numpy(a) for a in (images, classes, np.concatenate([negatives, bank]))]
    expected = theirs.compute_grouped_positive_score(*tensors, 100.0, 1, True)
    np.testing.assert_allclose(scores.share(found), expected.numpy(), atol=1e-5)


def test_words_are_scored_as_by_tins(monkeypatch):
    need("zxk1212/tins")
    theirs = originals.taken(
        "zxk1212/tins", "eval_tins_w_init.py", ("score_intermodal_candidates",)
    )
    features, classes = unit(90, 12, seed=1, shift=1), unit(5, 12, seed=2, shift=1.5)
    proxies = unit(5, 12, seed=3, shift=1.5)
    own = torch.from_numpy((classes * proxies).sum(1))
    kept, value = theirs.score_intermodal_candidates(
        torch.from_numpy(features), torch.from_numpy(proxies), own
    )
    best = [row for row in np.argsort(-value.numpy(), kind="stable") if kept[row]]
    ranked, _ = ranked_words(
        [Word(str(i), "noun", "") for i in range(90)], features, classes, proxies
    )
    assert ranked.tolist() == best


def test_oodd_equals_its_authors():
    """Their variant whose base score is the 10th cosine with the training images."""
    need("zxk1212/OODD")
    theirs = originals.taken(
        "zxk1212/OODD",
        "openood/postprocessors/knn_postprocessor.py",
        ("kth_largest_per_column", "batched_matrix_multiply", "ScoreData", "KNNPostprocessor"),
        BasePostprocessor=object,
        PriorityQueue=__import__("queue").PriorityQueue,
        tqdm=lambda steps, **_: steps,
        Any=object,
        DataLoader=object,
    )
    train, known, unknown = unit(200, 16), unit(300, 16, seed=1), unit(400, 16, seed=2)
    one = theirs.KNNPostprocessor.__new__(theirs.KNNPostprocessor)
    one.activation_log, one.idx, one.ALPHA, one.queue_size = train, np.arange(200), 1.0, 60
    one.K1, one.K2, one.aux_feature = 10, 5, None
    inside, outside = one.conf_postprocess(unknown, known)

    images = np.concatenate([known, unknown])
    np.random.seed(100)
    order = np.random.permutation(len(images))
    base = np.sort(images @ train.T, axis=1)[:, -10]
    found = oodd.with_queue(base, base, images, order, batch=512, size=60)
    there = found[order]
    np.testing.assert_allclose(there[order < 300], inside, atol=1e-5)
    np.testing.assert_allclose(there[order >= 300], outside, atol=1e-5)


def test_ants_thresholds_and_groups_equal_its_authors():
    need("ZhuWenjie98/ANTS")
    ens = originals.taken(
        "ZhuWenjie98/ANTS", "openood/postprocessors/ants/ens.py", ("update_adaptive_threshold",)
    )
    rng = np.random.default_rng(0)
    for shape in ((0.5, 0.5), (5, 1), (1, 5), (2, 2)):
        shares = rng.beta(*shape, 80).astype(np.float32).astype(np.float64)
        expected, _ = ens.update_adaptive_threshold([torch.tensor(s) for s in shares], 0.5)
        assert next_threshold(shares) == pytest.approx(expected, abs=1e-6)
    scoring = originals.taken(
        "ZhuWenjie98/ANTS",
        "openood/postprocessors/ants/scoring.py",
        ("grouped_negative_score", "_validate_logits", "_make_generator"),
    )
    known, unknown = unit(9, 5) * 0.3, unit(9, 40, seed=1) * 0.3
    logits = torch.from_numpy(np.concatenate([known, unknown], 1) / 0.01)
    expected = scoring.grouped_negative_score(logits, 5, 100)  # one group of all
    found = scores.neglabel(known, unknown, 0.01, groups=1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_angles_equal_those_of_the_authors_of_subspaces():
    need("zaeemzadeh/OOD")
    theirs = originals.taken(
        "zaeemzadeh/OOD", "evaluate.py", ("score_func", "correlation", "calculate_sing_vec")
    )
    classes = [unit(30, 8, seed=s) * 3 for s in range(4)]
    test = unit(20, 8, seed=9) * 5
    vectors = np.array([theirs.calculate_sing_vec(rows.T) for rows in classes])
    expected = theirs.score_func(test.T.copy(), vectors)
    found = minus_angle(test, np.stack([first_direction(rows) for rows in classes]))
    np.testing.assert_allclose(found, -expected, atol=1e-3)  # they add 1e-4 to lengths


def test_centres_move_and_draw_as_in_tagood():
    need("Jarvisgivemeasuit/tagood")
    theirs = originals.taken(
        "Jarvisgivemeasuit/tagood", "classifier_training_ema.py", ("EMALoss",)
    ).EMALoss(5, tagood.WIDTH, tagood.PATTERNS, alpha=tagood.LASTING)
    ours = tagood.MovingCentres(5, seed=0)
    theirs.centers = ours.rows.clone()
    rows = torch.from_numpy(unit(3, tagood.WIDTH))
    labels = torch.tensor([4, 0, 2])  # one image of a class: theirs writes the last of several
    expected = theirs(rows, labels)
    loss = ours.loss(lambda images: images, rows, labels)
    assert float(loss) == pytest.approx(0.1 * float(expected), rel=1e-5)
    torch.testing.assert_close(ours.rows, theirs.centers)


def test_local_prompt_losses_equal_its_authors():
    need("AuroraZengfh/Local-Prompt")
    theirs = originals.taken(
        "AuroraZengfh/Local-Prompt",
        "trainers/localprompt.py",
        ("LOCALPROMPT",),
        TRAINER_REGISTRY=SimpleNamespace(register=lambda: lambda cls: cls),
        TrainerX=object,
        repeat=originals.repeat,
    ).LOCALPROMPT
    near, far = (torch.from_numpy(unit(4, 3, 6, seed=s)) for s in (0, 1))
    names, negatives = torch.from_numpy(unit(3, 6, seed=2)), torch.from_numpy(unit(5, 6, seed=3))
    labels = torch.tensor([0, 2, 1, 0])
    learner = SimpleNamespace(num_local_prompts=3, num_neg_prompts=5)
    # all three places of an image are among its largest, so that order does not matter
    one = SimpleNamespace(top_k=3, T=1, model=SimpleNamespace(prompt_learner=learner))
    logits = [4.0 * places @ texts.T for places in (near, far) for texts in (names, negatives)]
    right = theirs.calculate_loss_local(one, logits[0], logits[1], labels)
    beyond = theirs.calculate_loss_local_neg(one, logits[3], logits[2], labels)
    alike = negatives @ negatives.T
    apart = alike[~torch.eye(5, dtype=torch.bool)].mean()
    found = localprompt.localprompt_loss(near, far, labels, names, negatives, 4.0)
    expected = right + 5 * beyond + 0.5 * apart
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
