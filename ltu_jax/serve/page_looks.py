"""How the page looks: colours, fonts of the system, and some CSS."""

import gradio as gr

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
.gradio-container h1 { margin-bottom: 0.1em; }
.ltu-picture { display: block; width: 100%; height: auto; border-radius: 8px;
  border: 1px solid var(--border-color-primary); }
.ltu-words, .ltu-error { padding: 2px 4px; font-size: 14px; line-height: 1.4;
  overflow-wrap: anywhere; }
.ltu-words { color: var(--neutral-600); }
.dark .ltu-words { color: var(--neutral-300); }
.ltu-error { color: #991b1b; background: #fef2f2; border-radius: 6px;
  border: 1px solid #fca5a5; padding: 8px 10px; }
.dark .ltu-error { color: #fecaca; background: #450a0a;
  border-color: #991b1b; }
#ltu-note, #ltu-picture, #ltu-status,
#ltu-note > div, #ltu-picture > div, #ltu-status > div { padding: 0 !important;
  margin: 0 !important; min-height: 0; }
#ltu-status { min-height: 24px; }
#ltu-examples { gap: 6px; flex-wrap: wrap; justify-content: flex-start; }
#ltu-examples button { flex: 0 1 auto !important; width: auto !important;
  max-width: 100%; white-space: normal; text-align: left; font-weight: 400; }
#ltu-buttons { gap: 8px; }
#ltu-buttons button { font-size: 14px; padding: 6px 4px; }
#ltu-buttons #ltu-new { flex-grow: 1.5; white-space: nowrap; }
#ltu-chat .message { overflow-wrap: anywhere; }
"""
"""For the identities that page.py gives."""


def theme() -> gr.themes.Base:
  """Colours and sizes; no font that would have to be fetched."""
  return gr.themes.Default(
    primary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "Segoe UI", "Helvetica", "Arial", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
  )
