"""Parts of the study of sensors: what is trained, the trainings, the measures."""
