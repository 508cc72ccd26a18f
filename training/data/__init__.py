"""Training pairs: stored (lmdb), rendered (synth, fonts, glyphs, grounds, words), degraded (degrade)."""
