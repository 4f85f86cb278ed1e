"""What comes back: signed requests of providers and of the shop, kept as they came, and what they mean.

Stored first (inbox), understood after (interpret): outcomes, suppressions, consents, replies, events of the shop.
"""
