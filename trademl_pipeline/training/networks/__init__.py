"""Training of networks: the loop, schedules, augmentation, fine-tuned heads."""
