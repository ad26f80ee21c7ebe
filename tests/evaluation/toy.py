"""Six items, ten users, four lists: small enough for a pencil. Items 1..6 of the pencil are 0..5 here."""

import numpy as np

PHI = np.array([10, 6, 4, 2, 2, 1])  # training events, 25 in all
LISTS = np.array([[1, 2], [1, 3], [1, 2], [4, 1]]) - 1
HISTORIES = [np.array(items) - 1 for items in ([1, 3, 4], [2, 3], [1, 2], [4, 5, 6])]
USERS = np.arange(4)  # one list each
# genres 1: a, 2: a b, 3: b, 4: c, 5: b c, 6: c
GENRES = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0.5, 0.5], [0, 0, 1]])
