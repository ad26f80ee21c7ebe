import numpy as np

from napo.negatives._protocol import Example, SamplerContext
from napo.negatives.uniform import Sampler, Settings
from napo.rng import rng_for


def test_all_items_left_are_drawn_equally_often():
    sampler = Sampler(SamplerContext(10, popularity=np.arange(10) ** 3), Settings())
    example, rng = Example(0, np.array([0]), chosen=1), rng_for("uniform")
    drawn = [sampler.draw(example, np.array([0, 1]), 2, rng) for _ in range(4000)]
    # 8 items left, each in a draw of two with probability 1/4: 1,000 times, sd 27
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    assert counts[:2].sum() == 0
    assert np.abs(counts[2:] - 1000).max() < 5 * 27.4
