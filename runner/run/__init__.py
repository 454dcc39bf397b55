"""The parts of a diff, an apply or a resume: the run, its executor, its catalog reader, its resumption."""
