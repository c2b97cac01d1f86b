"""Images to tokens: input units, tiles, frozen networks and the taps in them."""
