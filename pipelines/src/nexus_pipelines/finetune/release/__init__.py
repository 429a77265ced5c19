"""Step `finetune-release`: a registered version becomes the champion."""
