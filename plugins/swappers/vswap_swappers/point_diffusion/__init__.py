"""`point-diffusion`: semantic points carry the motion of the old subject through a diffusion model to the new one."""
