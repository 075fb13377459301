import 'ol/ol.css'
import './theme.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { serviceFacts } from './api/service'
import { App } from './App'

serviceFacts().catch(() => {}) // asked while the page is being built; who needs it sees the error
createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
