"""The tests tested: faults that are planted one at a time, each of which a test must catch."""
