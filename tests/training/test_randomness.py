import random

import numpy as np
import torch

from fastseek.training import random_state


def draws():
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        float(torch.rand(())),
    ]


def test_restored_generators_go_on_where_they_were(tmp_path):
    random_state.seed_all(3)
    draws()
    torch.save(random_state.states(), tmp_path / "s.pt")
    expected = [draws(), draws()]
    random_state.seed_all(4)
    random_state.restore(torch.load(tmp_path / "s.pt", weights_only=True), seed=3, step=7)
    assert [draws(), draws()] == expected


def test_with_another_number_of_processes_the_numbers_are_new_but_the_same_every_time():
    states = [random_state.state(), random_state.state()]
    seen = []
    for step in (7, 7, 8):
        random_state.restore(states, seed=3, step=step)
        seen.append(draws())
    assert seen[0] == seen[1] != seen[2]


def test_a_negative_seed_is_drawn_and_another_is_kept():
    assert random_state.draw_seed(5) == 5
    drawn = {random_state.draw_seed(-1) for _ in range(5)}
    assert len(drawn) == 5 and min(drawn) >= 0
