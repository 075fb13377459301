import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The service answers below these paths; everything else is the page.
const SERVICE = ['auth', 'baselines', 'healthz', 'jobs', 'legend', 'limits', 'processes', 'system', 'tiles']

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: Object.fromEntries(SERVICE.map((name) => [`/${name}`, 'http://127.0.0.1:8000'])),
  },
})
