"""`python -m training calibrate`: the rules by which the service decides which crops to super-resolve, and how.

command.py        the command: measure, fit, write the calibration beside its model
cells.py          words as crops of known height and blur
rendered.py       rendered text, for scripts that the data lacks
super_resolve.py  crops through a network, as the service does it
readers.py        recognisers on every core
measure.py        words that each recogniser reads plain and after each treatment -> Samples, Opinions
fit.py            Samples -> Rule
second_opinions.py  Opinions -> limits and treatment of second opinions
chart.py          the curve of gains by blur
"""
