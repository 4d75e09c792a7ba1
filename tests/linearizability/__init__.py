"""Whether what clients saw of a key could have come from one copy of it that did one thing at a time.

history      what clients did, when, and what they were told
register     what one key of the KV store does: set, compare and set, delete, lock and release
checker      searches an order of a history's operations that explains it"""
