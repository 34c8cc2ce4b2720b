"""Every adapter method, and the closed forms beside scikit-learn's."""

import numpy as np
import pytest
import scipy.linalg

from fastseek.adapt.cosine_linear import Layer, compute_loss
from fastseek.errors import DataError, UsageError
from fastseek.registry import ADAPTERS, build

QUICK = {"cosine_linear": "cosine_linear(dim=4, epochs=40, batch=16, rate=0.02)"}
CALLS = [QUICK.get(name, f"{name}()") for name in ADAPTERS.names()]


def labeled(seed=0, classes=6, images=12, dim=10, noise=1.0):
    """Vectors of length 1 whose classes differ in three directions, among others that are louder."""
    random = np.random.default_rng(seed)
    centers = np.zeros((classes, dim))
    centers[:, :3] = random.normal(size=(classes, 3))
    numbers = np.repeat(np.arange(classes), images)
    loud = np.where(np.arange(dim) < 3, 0.2, 1.0) * noise
    vectors = centers[numbers] + random.normal(size=(len(numbers), dim)) * loud
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), numbers


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def agreement(new, numbers):
    """How much larger the mean cosine is within classes than between them."""
    cosines, same = unit(new) @ unit(new).T, numbers[:, None] == numbers
    return cosines[same].mean() - cosines[~same].mean()


@pytest.mark.parametrize("call", CALLS)
def test_a_method_does_what_the_contract_says(call):
    vectors, numbers = labeled()
    given = vectors.copy(), numbers.copy()
    method = build(call, ADAPTERS)
    mean, directions = method(vectors, numbers)
    np.testing.assert_array_equal(vectors, given[0])
    np.testing.assert_array_equal(numbers, given[1])
    assert mean.shape == (10,) and directions.ndim == 2 and directions.shape[1] == 10
    assert mean.dtype == directions.dtype == np.float64
    assert np.isfinite(mean).all() and np.isfinite(directions).all()
    again = build(call, ADAPTERS)(vectors, numbers)
    assert again[0].tobytes() == mean.tobytes() and again[1].tobytes() == directions.tobytes()


@pytest.mark.parametrize("call", [call for call in CALLS if not call.startswith("whiten")])
def test_a_layer_draws_new_images_of_the_classes_together(call):
    vectors, numbers = labeled(classes=12)
    fitted, asked = np.arange(len(numbers)) % 3 > 0, np.arange(len(numbers)) % 3 == 0
    mean, directions = build(call, ADAPTERS)(vectors[fitted], numbers[fitted])
    new = (vectors[asked] - mean) @ directions.T
    assert agreement(new, numbers[asked]) > agreement(vectors[asked], numbers[asked]) + 0.05


@pytest.mark.parametrize("call", [call for call in CALLS if not call.startswith("cosine")])
def test_the_order_of_the_images_changes_nothing_in_a_closed_form(call):
    vectors, numbers = labeled(1)
    order = np.random.default_rng(0).permutation(len(vectors))
    method = build(call, ADAPTERS)
    mean, directions = method(vectors, numbers)
    other_mean, other = method(vectors[order], numbers[order])
    np.testing.assert_allclose(other_mean, mean, atol=1e-9)
    cosines = [unit((vectors - mean) @ turned.T) for turned in (directions, other)]
    np.testing.assert_allclose(cosines[0] @ cosines[0].T, cosines[1] @ cosines[1].T, atol=1e-6)


@pytest.mark.parametrize("call", CALLS)
def test_two_classes_of_which_one_has_a_single_image_are_enough(call):
    vectors, numbers = labeled(classes=2, images=5)
    mean, directions = build(call, ADAPTERS)(vectors[:6], numbers[:6])
    assert np.isfinite((vectors - mean) @ directions.T).all()


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_ridge_is_that_of_scikit_learn(strength):
    linear = pytest.importorskip("sklearn.linear_model")
    vectors, numbers = labeled(2)
    theirs = linear.Ridge(alpha=strength).fit(vectors.astype(np.float64), np.eye(6)[numbers])
    mean, directions = build(f"ridge(strength={strength})", ADAPTERS)(vectors, numbers)
    np.testing.assert_allclose(directions, theirs.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(mean, vectors.astype(np.float64).mean(axis=0), atol=1e-12)


def test_ridge_to_class_means_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    vectors, numbers = labeled(3)
    exact = vectors.astype(np.float64)
    means = np.stack([exact[numbers == number].mean(axis=0) for number in range(6)])
    theirs = linear.Ridge(alpha=0.5).fit(exact, means[numbers])
    directions = build("ridge(strength=0.5, targets='means')", ADAPTERS)(vectors, numbers)[1]
    np.testing.assert_allclose(directions, theirs.coef_, rtol=1e-5, atol=1e-8)


def test_class_means_that_are_the_images_are_left_as_they_are():
    random = np.random.default_rng(4)
    vectors = random.normal(size=(8, 5)).astype(np.float32)
    call = "ridge(strength=1e-9, targets='means')"
    directions = build(call, ADAPTERS)(vectors, np.arange(8))[1]
    np.testing.assert_allclose(directions, np.eye(5), atol=1e-6)


def test_lda_is_that_of_scikit_learn():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    vectors, numbers = labeled(5)
    theirs = discriminant.LinearDiscriminantAnalysis(solver="eigen", n_components=5)
    expected = theirs.fit(vectors.astype(np.float64), numbers).transform(vectors.astype(float))
    expected -= expected.mean(axis=0)
    mean, directions = build("lda(shrinkage=0.0)", ADAPTERS)(vectors, numbers)
    ours = (vectors - mean) @ directions.T
    signs = np.sign((ours * expected).sum(axis=0))
    np.testing.assert_allclose(ours * signs, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("dim", [None, 2])
def test_lda_solves_the_eigenvalue_problem_of_the_two_scatters(shrinkage, dim):
    vectors, numbers = labeled(5)
    exact = vectors.astype(np.float64)
    means = np.stack([exact[numbers == number].mean(axis=0) for number in range(6)])
    within = np.cov((exact - means[numbers]).T, bias=True)
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / 10 * np.eye(10)
    between = np.cov(means[numbers].T, bias=True)
    axes = scipy.linalg.eigh(between, within)[1][:, ::-1][:, : dim or 5]
    directions = build(f"lda(shrinkage={shrinkage}, dim={dim})", ADAPTERS)(vectors, numbers)[1]
    signs = np.sign((directions.T * axes).sum(axis=0))
    np.testing.assert_allclose(directions.T * signs, axes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_pair_whitening_makes_the_differences_of_all_matching_pairs_a_sphere(shrinkage):
    vectors, numbers = labeled(6, classes=4, images=9)
    vectors, numbers = vectors[:-5], numbers[:-5]  # classes of other sizes weigh otherwise
    exact = vectors.astype(np.float64)
    pairs = [
        exact[one] - exact[other]
        for one in range(len(numbers))
        for other in range(len(numbers))
        if numbers[one] == numbers[other]
    ]
    scatter = 2 * np.cov(np.array(pairs).T, bias=True)
    sphere = np.trace(scatter) / 10 * np.eye(10)
    mixed = (1 - shrinkage) * scatter + shrinkage * sphere
    directions = build(f"pair_whiten(shrinkage={shrinkage})", ADAPTERS)(vectors, numbers)[1]
    turned = directions @ mixed @ directions.T
    np.testing.assert_allclose(turned / turned[0, 0], np.eye(10), atol=1e-6)


@pytest.mark.parametrize("name", ["whiten", "pair_whiten"])
def test_fewer_directions_are_the_widest_of_all(name):
    vectors, numbers = labeled(7)
    mean, whole = build(f"{name}()", ADAPTERS)(vectors, numbers)
    few = build(f"{name}(dim=3)", ADAPTERS)(vectors, numbers)[1]
    widths = np.linalg.eigvalsh(np.cov((vectors - mean) @ whole.T, rowvar=False))[::-1]
    kept = np.linalg.eigvalsh(np.cov((vectors - mean) @ few.T, rowvar=False))[::-1]
    np.testing.assert_allclose(kept, widths[:3], rtol=1e-6)


def test_whitened_vectors_have_covariance_1():
    vectors, numbers = labeled(8)
    mean, directions = build("whiten(shrinkage=0.0)", ADAPTERS)(vectors, numbers)
    new = (vectors - mean) @ directions.T
    np.testing.assert_allclose(np.cov(new.T, bias=True), np.eye(10), atol=1e-6)


def test_vectors_that_are_white_already_keep_their_cosines():
    axes = np.concatenate([np.eye(6), -np.eye(6)]).astype(np.float32)
    for call in ("whiten(shrinkage=0.0)", "whiten(shrinkage=1.0)"):
        mean, directions = build(call, ADAPTERS)(axes, np.arange(12))
        new = unit((axes - mean) @ directions.T)
        np.testing.assert_allclose(new @ new.T, axes @ axes.T, atol=1e-6)


def test_the_gradients_of_the_cosine_classifier_are_finite_differences():
    random = np.random.default_rng(9)
    layer = Layer(random.normal(size=(4, 7)), random.normal(size=(3, 4)))
    vectors, numbers = random.normal(size=(11, 7)), random.integers(0, 3, 11)
    gradients = compute_loss(layer, vectors, numbers, 5.0, 0.2)[1]
    for part, gradient in zip(layer, gradients, strict=True):
        assert gradient.shape == part.shape
        for place in [(0, 0), (2, 3), (1, 2)]:
            losses, before = [], part[place]
            for step in (1e-5, -1e-5):
                part[place] = before + step
                losses.append(compute_loss(layer, vectors, numbers, 5.0, 0.2)[0])
            part[place] = before
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)


def test_the_cosine_classifier_without_steps_that_move_is_its_principal_directions():
    vectors, numbers = labeled(10)
    mean, directions = build("cosine_linear(epochs=1, rate=1e-12)", ADAPTERS)(vectors, numbers)
    new = (vectors - mean) @ directions.T
    np.testing.assert_allclose(new @ new.T, (vectors - mean) @ (vectors - mean).T, atol=1e-5)


def test_another_seed_is_another_order_and_the_same_seed_the_same():
    vectors, numbers = labeled(11)
    one, two, same = (
        build(f"cosine_linear(epochs=2, batch=8, seed={seed})", ADAPTERS)(vectors, numbers)[1]
        for seed in (0, 1, 0)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, two)


@pytest.mark.parametrize("name", ["lda", "whiten", "pair_whiten"])
def test_fewer_images_than_dimensions_need_shrinkage_and_are_told_so(name):
    vectors, numbers = labeled(12, classes=2, images=3, dim=20)
    with pytest.raises(DataError, match="give shrinkage above 0"):
        build(f"{name}(shrinkage=0.0)", ADAPTERS)(vectors, numbers)
    build(f"{name}()", ADAPTERS)(vectors, numbers)


def test_pairs_need_a_class_with_two_images():
    with pytest.raises(DataError, match="no class has two images"):
        build("pair_whiten()", ADAPTERS)(np.eye(3, dtype=np.float32), np.arange(3))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("ridge(strength=0)", "above 0"),
        ("ridge(targets='labels')", "classes, means"),
        ("lda(shrinkage=2.0)", "0 to 1"),
        ("lda(dim=0)", "1 or more"),
        ("whiten(dim=0)", "1 or more"),
        ("cosine_linear(margin=1.0)", "margin 0 to 1"),
        ("cosine_linear(epochs=0)", "1 or more"),
    ],
)
def test_arguments_without_meaning_are_refused(call, told):
    with pytest.raises(UsageError, match=told):
        build(call, ADAPTERS)
