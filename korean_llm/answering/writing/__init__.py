"""Where words come from: a model in this process or behind an endpoint, streamed in whole syllables."""
