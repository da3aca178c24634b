"""What goes with other libraries, where those are installed, and an engine for sessions."""
