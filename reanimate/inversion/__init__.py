"""From pictures to codes: spaces, losses, schedules, and the encoder that gives the first guess."""
