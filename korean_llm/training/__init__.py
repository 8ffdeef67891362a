"""Training: continued pretraining in phases and instruction tuning, thin over transformers.Trainer and TRL."""
