"""The sample store: two years of an invented shop that ends on the day it is asked for.

Owns what the invented facts look like and how they are loaded; decides nothing about anybody. Purchases follow a
published fit, responses follow the probabilities in `behaviour.RESPONSES`, so that what the engine measures can be
held against what is known to be true. No address in it reaches anybody.
"""

from retention.store.sample.sample import Sample, generate
from retention.store.sample.write import write

__all__ = ["Sample", "generate", "write"]
