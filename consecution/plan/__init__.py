"""From a Dag to stages, tasks and groupings. Pure."""
