"""Pairs to learn from: stored (lmdb), rendered (synth, fonts, glyphs, grounds, words), degraded (degrade)."""
