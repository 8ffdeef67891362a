"""What readers make of answers: kept in a run's records, and exported as corpora that the tuning stages read.

from korean_llm.answering.feedback import Feedback, feedback_path
feedback = Feedback(feedback_path(Path("runs/quickstart")))
answer_id = feedback.remember(answer, session="…")
feedback.record(answer_id, "up")
"""

from korean_llm.answering.feedback.store import Feedback, Kind, Remembered, feedback_path

__all__ = ["Feedback", "Kind", "Remembered", "feedback_path"]
