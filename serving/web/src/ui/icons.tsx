import type { ReactNode } from 'react'

const icon = (drawing: ReactNode) => (
  <svg viewBox="0 0 20 20" className="icon" aria-hidden="true" fill="none" stroke="currentColor">
    {drawing}
  </svg>
)

export const CircleIcon = () => icon(<circle cx="10" cy="10" r="6.5" />)
export const PolygonIcon = () => icon(<path d="M4 14.5 6 5l8.5-1.5L16.5 12l-6 4.5z" />)
export const DownloadIcon = () => icon(<path d="M10 3v9m0 0-3.5-3.5M10 12l3.5-3.5M4 16h12" />)
export const CloseIcon = () => icon(<path d="m5.5 5.5 9 9m0-9-9 9" />)
export const PlusIcon = () => icon(<path d="M10 4v12M4 10h12" />)
export const UserIcon = () => icon(<path d="M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10Zm-6 6.5c.6-3 3-4.3 6-4.3s5.4 1.3 6 4.3" />)
export const FrameIcon = () => icon(<path d="M4 7.5V4h3.5M12.5 4H16v3.5M16 12.5V16h-3.5M7.5 16H4v-3.5" />)
export const GripIcon = () => icon(<path d="m7.5 6-4 4 4 4m5-8 4 4-4 4" />)
