"""The Gradio demo: layout only. What it shows comes from korean_llm.answering."""
