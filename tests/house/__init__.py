"""The rules of the house, held by tests. A rule is a function from a source to its offences.

Each rule is tried twice: on the tree, where it must find nothing, and on a planted offence, which it must find.
An exception stands in the rule's own table with its reason, and has to go when the code no longer needs it.
"""
